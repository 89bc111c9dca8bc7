#include "models/collapse_watch.h"

#include <cmath>

#include "kernels/error.h"
#include "kernels/formulas.h"

namespace elbo {

LatentActivity latent_activity(const std::vector<float>& mean, const std::vector<float>& logvar,
                               int64_t latent) {
  constexpr double kActiveVariance = 0.01;
  LatentActivity activity;
  const auto width = static_cast<size_t>(latent);
  const size_t images = mean.size() / width;
  if (images == 0) return activity;
  const auto n = static_cast<double>(images);
  for (size_t d = 0; d < width; ++d) {
    double kl = 0, sum = 0, squares = 0;
    for (size_t i = d; i < mean.size(); i += width) {
      const double mu = mean[i];
      kl += formulas::gaussian_kl(mu, static_cast<double>(logvar[i]));
      sum += mu;
    }
    for (size_t i = d; i < mean.size(); i += width) {
      squares += (mean[i] - sum / n) * (mean[i] - sum / n);
    }
    activity.kl_nats.push_back(kl / n);
    activity.total_nats += kl / n;
    activity.active += squares / n > kActiveVariance;
  }
  return activity;
}

std::string collapse_advice(const RunConfig& config, int64_t pixels, float kl_weight) {
  const TrainConfig& train = config.train;
  const float recon = train.objective.recon_weight;
  constexpr float kAveraged = 0.1f;  // far below a weight somebody would choose, far above 1/pixels
  constexpr float kStrongBeta = 2.0f;
  if (recon < kAveraged) {
    return concat("the reconstruction weighs ", recon, ", as if it were averaged over the ", pixels,
                  " pixels while the KL is summed over latents; sum over pixels: --recon-weight 1");
  }
  if (config.model.likelihood == Likelihood::gaussian && config.model.log_variance > 0) {
    return concat(
        "the decoder's variance explains the images as noise; lower it: --set "
        "model.log_variance=0 (now ",
        config.model.log_variance, ")");
  }
  if (kl_weight / recon > kStrongBeta) {
    return concat("the KL weighs ", kl_weight / recon,
                  " times as much as the reconstruction; lower --beta");
  }
  if (train.objective.bound != Bound::elbo) {
    return "train on the plain ELBO with a KL whose weight grows: --objective elbo --set "
           "'train.kl_schedule={kind=\"warmup\", base=1, steps=5000}'";
  }
  if (train.objective.free_bits > 0) return "raise train.objective.free_bits";
  if (train.kl_schedule.kind == ScheduleKind::constant) {
    return "let the KL's weight grow: --set 'train.kl_schedule={kind=\"warmup\", base=1, "
           "steps=5000}'";
  }
  return "give every dimension some KL for free: --set train.objective.free_bits=0.1";
}

}  // namespace elbo
