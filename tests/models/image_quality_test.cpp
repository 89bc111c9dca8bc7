// Golden values are scikit-image 0.26's: structural_similarity(gaussian_weights=True, sigma=1.5,
// use_sample_covariance=False, data_range=1, channel_axis=2) and peak_signal_noise_ratio.
#include "models/image_quality.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/error.h"

namespace elbo {
namespace {

// Numerical Recipes' generator: simple enough to repeat in any language.
std::vector<float> noise(int64_t n, uint32_t state) {
  std::vector<float> values;
  for (int64_t i = 0; i < n; ++i) {
    state = state * 1664525u + 1013904223u;
    values.push_back(static_cast<float>(state >> 8) * 0x1p-24f);
  }
  return values;
}

struct Pair {
  std::vector<float> a, b;
};

// Stripes with noise, and the same with other noise.
Pair test_pair(const ImageSize& size) {
  Pair pair;
  const std::vector<float> u = noise(size.size(), 7), v = noise(size.size(), 8);
  for (int64_t i = 0; i < size.size(); ++i) {
    const float stripe = static_cast<float>(i / 5 % 7) / 7.0f;
    const auto at = static_cast<size_t>(i);
    pair.a.push_back(0.5f * u[at] + 0.5f * stripe);
    pair.b.push_back(0.75f * pair.a[at] + 0.25f * v[at]);
  }
  return pair;
}

TEST(ImageQuality, AgreesWithScikitImage) {
  struct Golden {
    ImageSize size;
    double ssim, psnr_db;
  };
  for (const Golden& golden : {Golden{{28, 28, 1}, 0.8923477304884616, 20.975567324885702},
                               Golden{{16, 24, 3}, 0.8851497137075977, 20.95341539149288},
                               Golden{{11, 13, 1}, 0.8415864304110959, 20.821020847790944},
                               Golden{{40, 12, 3}, 0.8775453817322872, 21.024620621911644}}) {
    const Pair pair = test_pair(golden.size);
    const double accuracy = 1e-9;  // both sides sum in double
    EXPECT_NEAR(ssim(pair.a, pair.b, golden.size), golden.ssim, accuracy);
    EXPECT_NEAR(psnr_db(mean_squared_error(pair.a, pair.b)), golden.psnr_db, accuracy);
  }
}

TEST(ImageQuality, OfEqualImagesIsPerfect) {
  const ImageSize size{12, 17, 3};
  const Pair pair = test_pair(size);
  EXPECT_NEAR(ssim(pair.a, pair.a, size), 1, 1e-12);
  EXPECT_EQ(mean_squared_error(pair.a, pair.a), 0);
  EXPECT_TRUE(std::isinf(psnr_db(0)));
  EXPECT_EQ(image_quality(pair.a, pair.a, size).psnr_db, 100);
}

// Two flat images: variances vanish and only the luminance term is left.
TEST(ImageQuality, OfFlatImagesIsTheLuminanceTerm) {
  for (const ImageSize& size : {ImageSize{20, 20, 1}, ImageSize{4, 3, 3}, ImageSize{1, 1, 1}}) {
    const std::vector<float> a(static_cast<size_t>(size.size()), 0.25f);
    const std::vector<float> b(static_cast<size_t>(size.size()), 0.75f);
    const double expected = (2 * 0.25 * 0.75 + 1e-4) / (0.25 * 0.25 + 0.75 * 0.75 + 1e-4);
    EXPECT_NEAR(ssim(a, b, size), expected, 1e-12);
    EXPECT_NEAR(psnr_db(mean_squared_error(a, b)), 10 * std::log10(4.0), 1e-12);
  }
}

TEST(ImageQuality, AveragesOverImages) {
  const ImageSize size{11, 13, 1};
  const Pair pair = test_pair(size);
  std::vector<float> a = pair.a, b = pair.b;
  a.insert(a.end(), pair.a.begin(), pair.a.end());
  b.insert(b.end(), pair.a.begin(), pair.a.end());  // the second pair agrees exactly
  const ImageQuality quality = image_quality(a, b, size);
  EXPECT_NEAR(quality.mse, mean_squared_error(pair.a, pair.b) / 2, 1e-15);
  EXPECT_NEAR(quality.ssim, (ssim(pair.a, pair.b, size) + 1) / 2, 1e-12);
  EXPECT_NEAR(quality.psnr_db, (20.821020847790944 + 100) / 2, 1e-9);
}

TEST(ImageQuality, RefusesSizesThatDoNotFit) {
  const std::vector<float> four(4), five(5), none;
  EXPECT_THROW(mean_squared_error(four, five), Error);
  EXPECT_THROW(mean_squared_error(none, none), Error);
  EXPECT_THROW(ssim(four, four, {2, 3, 1}), Error);
  EXPECT_THROW(image_quality(five, five, {2, 2, 1}), Error);
}

}  // namespace
}  // namespace elbo
