#include "models/gaussian_mixture.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "kernels/error.h"
#include "kernels/noise.h"

namespace elbo {
namespace {

float normal(uint32_t row, uint64_t column) {
  return normal1(NoiseKey{21}, {NoisePurpose::data, 0, row, 0}, column);
}

// A quarter at (-5, 0), round; the rest at (5, 5), stretched along the diagonal.
std::vector<float> two_groups(uint32_t count) {
  std::vector<float> codes;
  for (uint32_t i = 0; i < count; ++i) {
    const float a = normal(i, 0), b = normal(i, 1);
    if (i % 4 == 0) {
      codes.insert(codes.end(), {-5 + 0.5f * a, 0.5f * b});
    } else {
      codes.insert(codes.end(), {5 + 2 * a, 5 + 2 * a + 0.5f * b});
    }
  }
  return codes;
}

MixtureOptions options(int64_t components, CovarianceKind kind = CovarianceKind::full) {
  MixtureOptions result;
  result.components = components;
  result.covariance = kind;
  return result;
}

TEST(GaussianMixture, OfOneIsTheDensityOfAGaussian) {
  const GaussianMixture mixture({1, 2}, {4, 1, 1, 2});
  // C^-1 = ((2, -1), (-1, 4)) / 7 at an offset of (2, -1): (8 + 4 + 4) / 7.
  const double expected = -std::log(2 * std::numbers::pi) - 0.5 * std::log(7.0) - 0.5 * 16.0 / 7.0;
  EXPECT_NEAR(mixture.log_density(std::vector<float>{3, 1}), expected, 1e-12);
  EXPECT_THROW(mixture.log_density(std::vector<float>{3}), Error);
  EXPECT_THROW(GaussianMixture({0, 0}, {1, 2, 2, 1}), Error);
}

TEST(GaussianMixture, FindsTheGroupsItIsMadeOf) {
  const GaussianMixture mixture = GaussianMixture::fit(two_groups(4000), 2, options(2));
  const int64_t small = mixture.weights()[0] < mixture.weights()[1] ? 0 : 1;
  EXPECT_NEAR(mixture.weights()[small], 0.25, 0.005);
  EXPECT_NEAR(mixture.mean(small)[0], -5, 0.1);
  EXPECT_NEAR(mixture.mean(small)[1], 0, 0.1);
  EXPECT_NEAR(mixture.mean(1 - small)[0], 5, 0.2);
  EXPECT_NEAR(mixture.mean(1 - small)[1], 5, 0.2);
  // The entropy of the truth: -log w - expected log density, groups being far apart.
  const auto entropy = [](double weight, double determinant) {
    return weight *
           (-std::log(weight) + 1 + std::log(2 * std::numbers::pi) + 0.5 * std::log(determinant));
  };
  EXPECT_NEAR(mixture.mean_log_density(two_groups(4000)),
              -entropy(0.25, 0.0625) - entropy(0.75, 4 * 0.25), 0.05);
}

TEST(GaussianMixture, TheObjectiveNeverFalls) {
  const std::vector<float> codes = two_groups(500);
  for (const CovarianceKind kind : {CovarianceKind::full, CovarianceKind::diagonal}) {
    for (const int64_t components : {1, 3, 8, 40}) {
      for (const uint64_t seed : {1, 2, 3}) {
        MixtureOptions all = options(components, kind);
        all.seed = seed;
        all.tolerance_nats = -1;  // go on to the end
        all.most_steps = 60;
        const GaussianMixture mixture = GaussianMixture::fit(codes, 2, all);
        const std::vector<double>& objectives = mixture.objectives();
        ASSERT_EQ(objectives.size(), 60u);
        for (size_t step = 1; step < objectives.size(); ++step) {
          EXPECT_GE(objectives[step], objectives[step - 1] - 1e-10) << step;  // rounding
        }
      }
    }
  }
}

TEST(GaussianMixture, AFullCovarianceFitsWhatADiagonalOneCannot) {
  const std::vector<float> codes = two_groups(2000);
  const double full = GaussianMixture::fit(codes, 2, options(2)).mean_log_density(codes);
  const double diagonal =
      GaussianMixture::fit(codes, 2, options(2, CovarianceKind::diagonal)).mean_log_density(codes);
  // Of three quarters of the codes: log of the ratio of the deviations across the diagonal.
  EXPECT_NEAR(full - diagonal, 0.75 * 0.5 * std::log(4 * 4.25), 0.1);
}

TEST(GaussianMixture, NoComponentCollapses) {
  std::vector<float> codes = two_groups(100);
  for (int i = 0; i < 30; ++i) codes.insert(codes.end(), {1, 1});  // thirty times the same
  const GaussianMixture mixture = GaussianMixture::fit(codes, 2, options(8));
  EXPECT_LT(mixture.log_density(std::vector<float>{1, 1}), 10);
  EXPECT_TRUE(std::isfinite(mixture.mean_log_density(codes)));
}

// Five components for two places far apart: some own nothing.
TEST(GaussianMixture, ComponentsWithoutCodesDoNoHarm) {
  std::vector<float> codes;
  for (int i = 0; i < 20; ++i) codes.insert(codes.end(), {-1000, 0, 1000, 5});
  const GaussianMixture mixture = GaussianMixture::fit(codes, 2, options(5));
  EXPECT_TRUE(std::isfinite(mixture.mean_log_density(codes)));
  for (const float value : mixture.sample(200, 3)) EXPECT_TRUE(std::isfinite(value));
  EXPECT_GT(mixture.log_density(std::vector<float>{1000, 5}),
            mixture.log_density(std::vector<float>{0, 0}) + 10);
}

TEST(GaussianMixture, SamplesHaveTheMomentsOfTheMixture) {
  const GaussianMixture mixture({1, -2}, {4, 1, 1, 2});
  constexpr int64_t n = 20000;
  for (const double temperature : {1.0, 0.5}) {
    const std::vector<float> z = mixture.sample(n, 5, temperature);
    double mean[2] = {0, 0}, product[3] = {0, 0, 0};
    for (int64_t i = 0; i < n; ++i) {
      const double a = z[2 * i] - 1, b = z[2 * i + 1] + 2;
      mean[0] += a / n;
      mean[1] += b / n;
      product[0] += a * a / n;
      product[1] += a * b / n;
      product[2] += b * b / n;
    }
    const double t2 = temperature * temperature, error = 5 / std::sqrt(1.0 * n);
    EXPECT_NEAR(mean[0], 0, 2 * error);
    EXPECT_NEAR(mean[1], 0, 1.5 * error);
    EXPECT_NEAR(product[0], 4 * t2, 4 * 1.5 * error);
    EXPECT_NEAR(product[1], t2, 3 * 1.5 * error);
    EXPECT_NEAR(product[2], 2 * t2, 2 * 1.5 * error);
  }
  const std::vector<float> many = mixture.sample(10, 5), few = mixture.sample(4, 5);
  EXPECT_TRUE(std::equal(few.begin(), few.end(), many.begin()));
  EXPECT_NE(mixture.sample(4, 6), few);
}

TEST(GaussianMixture, SamplesComeFromComponentsByWeight) {
  const GaussianMixture mixture = GaussianMixture::fit(two_groups(2000), 2, options(2));
  const std::vector<float> z = mixture.sample(4000, 9);
  int64_t left = 0;
  for (size_t i = 0; i < z.size(); i += 2) left += z[i] < -2.5f;
  EXPECT_NEAR(static_cast<double>(left) / 4000, 0.25, 5 * std::sqrt(0.25 * 0.75 / 4000));
}

TEST(GaussianMixture, RefusesWhatCannotBeFitted) {
  EXPECT_THROW(GaussianMixture::fit(std::vector<float>{1, 2, 3}, 2, options(1)), Error);
  EXPECT_THROW(GaussianMixture::fit(std::vector<float>{1, 2, 3, 4}, 2, options(3)), Error);
  EXPECT_THROW(GaussianMixture::fit(std::vector<float>(20, 1.0f), 2, options(2)), Error);
}

}  // namespace
}  // namespace elbo
