// Draws from p(x | z) have the distribution that the likelihood says: compared by the mean of -log
// p, which for draws of p is its entropy, by moments, and by counting.
#include "models/pixel_draws.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "models/audit_likelihood.h"
#include "models/likelihood.h"

namespace elbo {
namespace {

constexpr int64_t kDraws = 20000;

ModelConfig config_of(Likelihood likelihood) {
  ModelConfig config;
  config.likelihood = likelihood;
  config.log_scale = -1.0f;
  return config;
}

// Many rows of one pixel with these outputs.
std::vector<float> draws_of(const ModelConfig& config, float first, float second,
                            double log_variance, uint64_t seed = 1) {
  std::vector<float> output;
  for (int64_t i = 0; i < kDraws; ++i) {
    output.push_back(first);
    if (outputs_per_value(config.likelihood) == 2) output.push_back(second);
  }
  return draw_pixels(config, 1, log_variance, output, 1, seed);
}

struct Point {
  double x, weight;
};

// Where the distribution is looked at: all of it that matters, finely enough.
std::vector<Point> grid_of(Likelihood likelihood) {
  std::vector<Point> grid;
  constexpr int kPoints = 100000;
  const LikelihoodMeasure measure = likelihood_measure(likelihood);
  if (measure == LikelihoodMeasure::binary) return {{0, 1}, {1, 1}};
  if (measure == LikelihoodMeasure::bytes) {
    for (int level = 0; level < 256; ++level) grid.push_back({level / 255.0, 1});
    return grid;
  }
  for (int i = 0; i < kPoints; ++i) {
    const double part = (i + 0.5) / kPoints;
    if (likelihood == Likelihood::beta) {  // infinite at its ends: by t = sigmoid(u)
      const double t = 1 / (1 + std::exp(34 - 68 * part));
      grid.push_back({(256 * t - 0.5) / 255, t * (1 - t)});
    } else if (likelihood == Likelihood::continuous_bernoulli) {
      grid.push_back({part, 1});
    } else {
      grid.push_back({-15 + 31 * part, 1});
    }
  }
  return grid;
}

TEST(PixelDraws, HaveTheMomentsAndTheEntropyOfTheirDistribution) {
  for (const Likelihood likelihood : kLikelihoods) {
    for (const float first : {-0.8f, 0.4f, 1.9f}) {
      const float second = likelihood == Likelihood::beta ? 1.5f : -1.2f;
      const ModelConfig config = config_of(likelihood);
      const AuditLikelihood subject{likelihood, -0.7, config.log_scale};
      const auto nll = [&](double x) {
        const double output[] = {first, second};
        return audit_nll(subject, 1, 1, &x, output);
      };
      double mass = 0, mean = 0, variance = 0, fourth = 0, entropy = 0, spread = 0;
      const std::vector<Point> grid = grid_of(likelihood);
      for (const Point& at : grid) {
        const double p = at.weight * std::exp(-nll(at.x));
        mass += p, mean += p * at.x, entropy += p * nll(at.x);
      }
      mean /= mass, entropy /= mass;
      for (const Point& at : grid) {
        const double p = at.weight * std::exp(-nll(at.x)) / mass, off = at.x - mean;
        variance += p * off * off, fourth += p * off * off * off * off;
        spread += p * std::pow(nll(at.x) - entropy, 2);
      }
      double drawn_mean = 0, drawn_variance = 0, drawn_entropy = 0;
      for (const float drawn : draws_of(config, first, second, -0.7)) {
        // A float cannot come closer to the beta's end, where the density is not defined.
        const double x = likelihood == Likelihood::beta ? std::max(double{drawn}, -1.0 / 510 + 1e-9)
                                                        : double{drawn};
        drawn_mean += x / kDraws;
        drawn_variance += (x - mean) * (x - mean) / kDraws;
        drawn_entropy += nll(x) / kDraws;
      }
      // Five standard deviations of each mean, and of the entropy what that end costs.
      const std::string what = concat(likelihood_name(likelihood), " at ", first);
      const auto tolerance = [](double square) { return 5 * std::sqrt(square / kDraws) + 1e-9; };
      EXPECT_NEAR(drawn_mean, mean, tolerance(variance)) << what;
      EXPECT_NEAR(drawn_variance, variance, tolerance(fourth)) << what;
      const double end = likelihood == Likelihood::beta ? 0.01 : 0;
      EXPECT_NEAR(drawn_entropy, entropy, tolerance(spread) + end) << what;
    }
  }
}

TEST(PixelDraws, OfTheLogisticAreGreyLevels) {
  for (const float x : draws_of(config_of(Likelihood::logistic), 0.3f, -2.0f, 0)) {
    EXPECT_NEAR(255 * x, std::round(255 * x), 1e-4);
    EXPECT_TRUE(x >= 0 && x <= 1);
  }
}

// A value's noise is its own: not that of its row's length, nor of how many rows there are.
TEST(PixelDraws, DependOnSeedRowAndValueOnly) {
  const ModelConfig config = config_of(Likelihood::gaussian);
  const std::vector<float> all = draw_pixels(config, 1, 0, std::vector<float>(12, 0.5f), 4, 7);
  const std::vector<float> first = draw_pixels(config, 1, 0, std::vector<float>(4, 0.5f), 4, 7);
  EXPECT_EQ(std::vector<float>(all.begin(), all.begin() + 4), first);
  EXPECT_NE(all[0], all[1]);
  EXPECT_NE(all[0], all[4]);
  EXPECT_NE(all, draw_pixels(config, 1, 0, std::vector<float>(12, 0.5f), 4, 8));
}

// [first of the pixel's channels | second]: of scales e^-10 the draws are the means.
TEST(PixelDraws, TakeTheOutputsOfEachPixelsChannels) {
  const ModelConfig config = config_of(Likelihood::gaussian_diagonal);
  const std::vector<float> output = {0.1f, 0.2f, -1e6f, -1e6f, 0.3f, 0.4f, -1e6f, -1e6f};
  const std::vector<float> drawn = draw_pixels(config, 2, 0, output, 4, 1);
  const std::vector<float> means = {0.1f, 0.2f, 0.3f, 0.4f};
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(drawn[i], means[i], 1e-3);
}

}  // namespace
}  // namespace elbo
