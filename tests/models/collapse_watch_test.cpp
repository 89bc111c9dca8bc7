// A latent that collapses is noticed within 500 steps, and what is then advised cures it.
#include "models/collapse_watch.h"

#include <gtest/gtest.h>

#include "models/inference.h"
#include "models/trainer.h"

namespace elbo {
namespace {

constexpr int kResolution = 16;
constexpr int64_t kPixels = kResolution * kResolution;

RunConfig sprites_config() {
  RunConfig config;
  config.model.hidden = {64};
  config.model.latent_dim = 6;
  config.data.kind = DataKind::sprites;
  config.data.resolution = kResolution;
  config.train.batch_size = 64;
  config.train.learning_rate.base = 2e-3f;
  return config;
}

LatentActivity after_500_steps(const RunConfig& config) {
  Context context;
  const ImageData data = ImageData::sprites(kResolution, 2000, 0);
  Trainer trainer(context, config, data, nullptr);
  for (int step = 0; step < 500; ++step) trainer.train_step();
  Inference inference(context, trainer.model());
  const Inference::Posterior posterior =
      inference.encode(inference.images(data, 0, 200, Binarise::none, 1));
  return latent_activity(posterior.mean, posterior.logvar, config.model.latent_dim);
}

struct Provocation {
  const char* name;
  void (*provoke)(RunConfig&);
  void (*cure)(RunConfig&);
  const char* advice;  // part of what is said
};

class Collapse : public testing::TestWithParam<Provocation> {};

TEST_P(Collapse, IsNoticedAndCuredByTheAdvice) {
  RunConfig config = sprites_config();
  GetParam().provoke(config);
  const LatentActivity ill = after_500_steps(config);
  EXPECT_TRUE(ill.collapsed()) << ill.total_nats << " nats, " << ill.active << " active";
  const std::string advice = collapse_advice(config, kPixels, config.train.beta);
  EXPECT_NE(advice.find(GetParam().advice), std::string::npos) << advice;
  GetParam().cure(config);
  const LatentActivity well = after_500_steps(config);
  EXPECT_FALSE(well.collapsed());
  EXPECT_GE(well.active, 2) << well.total_nats << " nats";
}

INSTANTIATE_TEST_SUITE_P(
    Ways, Collapse,
    testing::Values(
        Provocation{"mean_bce",
                    [](RunConfig& c) { c.train.objective.recon_weight = 1.0f / kPixels; },
                    [](RunConfig& c) { c.train.objective.recon_weight = 1; }, "--recon-weight 1"},
        Provocation{"beta_50", [](RunConfig& c) { c.train.beta = 50; },
                    [](RunConfig& c) { c.train.beta = 1; }, "--beta"},
        Provocation{"decoder_of_noise",
                    [](RunConfig& c) {
                      c.model.likelihood = Likelihood::gaussian;
                      c.model.log_variance = 4;
                    },
                    [](RunConfig& c) { c.model.log_variance = -2; }, "model.log_variance"}),
    [](const auto& info) { return info.param.name; });

TEST(LatentActivity, CountsNatsAndDimensionsThatVary) {
  // Two images: dimension 0 tells them apart, dimension 1 is the prior, 2 is a constant away from it.
  const std::vector<float> mean = {1, 0, 2, -1, 0, 2}, logvar(6, 0.0f);
  const LatentActivity activity = latent_activity(mean, logvar, 3);
  EXPECT_EQ(activity.active, 1);
  ASSERT_EQ(activity.kl_nats.size(), 3u);
  EXPECT_DOUBLE_EQ(activity.kl_nats[0], 0.5);
  EXPECT_DOUBLE_EQ(activity.kl_nats[1], 0.0);
  EXPECT_DOUBLE_EQ(activity.kl_nats[2], 2.0);
  EXPECT_FALSE(activity.collapsed());
}

TEST(CollapseAdvice, GoesFromWarmUpToFreeBits) {
  RunConfig config = sprites_config();
  EXPECT_NE(collapse_advice(config, kPixels, 1).find("warmup"), std::string::npos);
  config.train.kl_schedule.kind = ScheduleKind::warmup;
  EXPECT_NE(collapse_advice(config, kPixels, 1).find("free_bits=0.1"), std::string::npos);
  config.train.objective.free_bits = 0.1f;
  EXPECT_EQ(collapse_advice(config, kPixels, 1), "raise train.objective.free_bits");
  config.train.objective.bound = Bound::tcvae;  // which knows no free bits
  EXPECT_NE(collapse_advice(config, kPixels, 1).find("--objective elbo"), std::string::npos);
}

}  // namespace
}  // namespace elbo
