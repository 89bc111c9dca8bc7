#include "engine/io/image_resize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/support/picture_samples.h"

namespace elbo {
namespace {

using Pixels = std::vector<uint8_t>;

Raster raster_of(int64_t height, int64_t width, Pixels pixels) {
  const int64_t channels = static_cast<int64_t>(pixels.size()) / (height * width);
  return {height, width, channels, std::move(pixels)};
}

Raster sample(int height, int width, int channels) {
  return raster_of(height, width, sample_picture(height, width, channels).pixels);
}

TEST(ImageResize, APictureOfTheSizeIsNotTouched) {
  const Raster raster = sample(13, 17, 3);
  EXPECT_EQ(fit_picture(raster, 13, 17), raster.pixels);
}

TEST(ImageResize, CuttingAloneKeepsTheValuesOfTheMiddle) {
  EXPECT_EQ(fit_picture(raster_of(1, 5, {10, 20, 30, 40, 50}), 1, 3), (Pixels{20, 30, 40}));
  EXPECT_EQ(fit_picture(raster_of(1, 4, {10, 20, 30, 40}), 1, 1), (Pixels{20}));
  EXPECT_EQ(fit_picture(raster_of(4, 1, {10, 20, 30, 40}), 2, 1), (Pixels{20, 30}));
}

TEST(ImageResize, HalvingTakesTheTriangleOfFourPixels) {
  // Weights 1/8, 3/8, 3/8, 1/8 of the source pixels around a new one; cut off at the edges, where
  // what is left of them is 3, 3, 1 of 7.
  const Raster raster = raster_of(2, 8,
                                  {0, 0, 0, 80, 160, 80, 0, 0,  //
                                   0, 0, 0, 80, 160, 80, 0, 0});
  const Pixels halved = fit_picture(raster, 1, 4);
  EXPECT_EQ(halved, (Pixels{0, 50, 100, 11}));
}

TEST(ImageResize, GrowingIsBilinear) {
  EXPECT_EQ(fit_picture(raster_of(1, 2, {0, 100}), 2, 4), (Pixels{0, 25, 75, 100, 0, 25, 75, 100}));
}

TEST(ImageResize, ShrinkingLooksAtEveryPixel) {
  // A single white pixel in 64 x 64 must show in 4 x 4, wherever it is.
  for (const int place : {0, 1, 31, 32, 63}) {
    Raster raster = raster_of(64, 64, Pixels(4096, 0));
    for (int i = 0; i < 64; ++i) raster.pixels[static_cast<size_t>(i * 64 + place)] = 255;
    const Pixels shrunk = fit_picture(raster, 4, 4);
    EXPECT_GT(*std::max_element(shrunk.begin(), shrunk.end()), 0) << "column " << place;
  }
}

TEST(ImageResize, AConstantStaysWhatItIs) {
  for (const auto& [height, width] : {std::pair{5, 9}, {64, 64}, {1, 1}, {40, 3}}) {
    const Pixels fitted = fit_picture(raster_of(37, 23, Pixels(37 * 23 * 3, 201)), height, width);
    EXPECT_EQ(fitted, Pixels(static_cast<size_t>(height * width * 3), 201));
  }
}

TEST(ImageResize, AgreesWithADirectSumInDouble) {
  const Raster raster = sample(40, 50, 3);
  constexpr int kHeight = 15, kWidth = 11;
  const Pixels fitted = fit_picture(raster, kHeight, kWidth);
  // 40 x 50 becomes 15 x 19, of which 11 columns are kept, 4 from the left.
  const double step_y = 40.0 / 15, step_x = 50.0 / 19;
  for (int y = 0; y < kHeight; ++y) {
    for (int x = 0; x < kWidth; ++x) {
      for (int c = 0; c < 3; ++c) {
        double sum = 0, total = 0;
        for (int j = 0; j < 40; ++j) {
          for (int i = 0; i < 50; ++i) {
            const double dy = std::abs(j + 0.5 - (y + 0.5) * step_y) / step_y;
            const double dx = std::abs(i + 0.5 - (x + 4 + 0.5) * step_x) / step_x;
            const double weight = std::max(0.0, 1 - dy) * std::max(0.0, 1 - dx);
            sum += weight * raster.pixels[static_cast<size_t>((j * 50 + i) * 3 + c)];
            total += weight;
          }
        }
        ASSERT_NEAR(fitted[static_cast<size_t>((y * kWidth + x) * 3 + c)], sum / total, 0.502)
            << y << " " << x << " " << c;  // half a step of rounding, and fp32
      }
    }
  }
}

}  // namespace
}  // namespace elbo
