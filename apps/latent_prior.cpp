#include "apps/latent_prior.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "apps/latent_source.h"
#include "apps/run_images.h"
#include "engine/io/blob.h"
#include "kernels/noise.h"
#include "models/aggregate.h"
#include "models/gaussian_mixture.h"

namespace elbo {
namespace {

constexpr int64_t kMostComponents = 10000;
constexpr double kSmallestVariance = 1e-6;  // relative: a latent that never changes has none at all

CovarianceKind covariance_of(const Arguments& arguments) {
  const std::string name = arguments.text("--covariance", "full");
  if (name == "full") return CovarianceKind::full;
  if (name == "diagonal") return CovarianceKind::diagonal;
  throw_error(ErrorCode::usage, "--covariance: found ", in_quotes(name),
              ", expected full or diagonal");
}

// One z per image.
std::vector<float> posterior_draws(const Inference::Posterior& codes, int64_t dim, uint64_t seed) {
  std::vector<float> draws = codes.mean;
  for (size_t i = 0; i < codes.logvar.size(); ++i) {
    NoiseAddress at;
    at.purpose = NoisePurpose::evaluate;
    at.sample = static_cast<uint32_t>(i / static_cast<size_t>(dim));
    const float eps = normal1(NoiseKey{seed}, at, i % static_cast<size_t>(dim));
    draws[i] += std::exp(0.5f * codes.logvar[i]) * eps;
  }
  return draws;
}

GaussianMixture aggregate_gaussian(const Inference::Posterior& codes, int64_t dim) {
  LatentMoments moments = latent_moments(codes.mean, codes.logvar, dim);
  double average = 0;
  for (int64_t d = 0; d < dim; ++d) average += moments.variance_of(d) / static_cast<double>(dim);
  for (int64_t d = 0; d < dim; ++d) {
    moments.covariance[static_cast<size_t>(d * dim + d)] += kSmallestVariance * average;
  }
  return {moments.mean, moments.covariance};
}

}  // namespace

std::vector<Flag> latent_prior_flags(const std::string& group) {
  return {
      {"--from", 0, Takes::one_value, "prior|aggregate|gmm", group,
       "N(0, I) or the prior that was learned (with a codebook: codes as often as training used "
       "them), the Gaussian with the "
       "moments of training codes, or a mixture of Gaussians fitted to them",
       "prior"},
      {"--images", 0, Takes::one_value, "N", group,
       "training images to fit aggregate and gmm to; 0: all", "10000"},
      {"--components", 0, Takes::one_value, "K", group, "of gmm", "10"},
      {"--covariance", 0, Takes::one_value, "full|diagonal", group, "of its components", "full"},
      {"--data", 0, Takes::one_value, "DIR", group, "other images to fit to", "the run's own"}};
}

void check_latent_prior(const Arguments& arguments) {
  const std::string from = arguments.text("--from", "prior");
  if (from != "prior" && from != "aggregate" && from != "gmm") {
    throw_error(ErrorCode::usage, "--from: found ", in_quotes(from),
                ", expected prior, aggregate or gmm");
  }
  arguments.integer("--images", 0, 0, INT64_MAX);
  arguments.integer("--components", 1, 1, kMostComponents);
  covariance_of(arguments);
}

std::vector<float> draw_latents(TrainedRun& run, const Arguments& arguments, int64_t count,
                                uint64_t seed, float temperature, Log& log) {
  const std::string from = arguments.text("--from", "prior");
  if (from == "prior") {
    warn_without_prior(run, log);
    return run.inference().prior_latents(count, seed, temperature);
  }
  const int64_t dim = run.model().latent_dim();
  const int64_t most = arguments.integer("--images", 10000, 0, INT64_MAX);
  const RunImages images = ImageSource(run, arguments.text("--data"), log).open(Split::train, most);
  const Inference::Posterior codes = encode_images(run, images, 0, images.count());
  if (from == "aggregate") return aggregate_gaussian(codes, dim).sample(count, seed, temperature);
  MixtureOptions options;
  options.components = arguments.integer("--components", 10, 1, kMostComponents);
  options.covariance = covariance_of(arguments);
  if (options.components > images.count()) {
    throw_error(ErrorCode::usage, "--components: found ", options.components, ", expected at most ",
                images.count(), ", the number of training images");
  }
  const std::vector<float> draws = posterior_draws(codes, dim, run.config().train.seed);
  const GaussianMixture mixture = GaussianMixture::fit(draws, dim, options);
  log.note(fmt::format("gmm: {} components, {} steps, {:.4f} nats per code", mixture.components(),
                       mixture.objectives().size(), mixture.mean_log_density(draws)));
  return mixture.sample(count, seed, temperature);
}

}  // namespace elbo
