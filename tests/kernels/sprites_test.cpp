#include "kernels/sprites.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "tests/support/device.h"
#include "tests/support/error_of.h"
#include "tests/support/values.h"

namespace elbo {
namespace {

enum Shape { square, ellipse, heart };

std::vector<float> image_of(const SpriteFactors& f, int resolution) {
  std::vector<float> image;
  for (int row = 0; row < resolution; ++row) {
    for (int col = 0; col < resolution; ++col) {
      image.push_back(sprite_pixel(f, resolution, row, col));
    }
  }
  return image;
}

double area_of(const std::vector<float>& image) {
  double sum = 0.0;
  for (const float v : image) sum += v;
  return sum / static_cast<double>(image.size());
}

int differing(const std::vector<float>& a, const std::vector<float>& b) {
  int count = 0;
  for (size_t i = 0; i < a.size(); ++i) count += a[i] != b[i];
  return count;
}

TEST(SpriteFactorsTest, IndexAndFactorsAreOneToOne) {
  EXPECT_EQ(kSpriteCount, 737'280);
  for (int64_t index = 0; index < kSpriteCount; ++index) {
    const SpriteFactors f = sprite_factors(index);
    ASSERT_EQ(sprite_index(f), index);
    ASSERT_TRUE(f.shape < 3 && f.scale < 6 && f.orientation < 40 && f.pos_x < 32 && f.pos_y < 32);
  }
}

TEST(SpriteFactorsTest, StridesAreThoseOfDSprites) {
  EXPECT_EQ(sprite_index({1, 0, 0, 0, 0}), 245'760);
  EXPECT_EQ(sprite_index({0, 1, 0, 0, 0}), 40'960);
  EXPECT_EQ(sprite_index({0, 0, 1, 0, 0}), 1'024);
  EXPECT_EQ(sprite_index({0, 0, 0, 1, 0}), 32);
  EXPECT_EQ(sprite_index({0, 0, 0, 0, 1}), 1);
}

// Areas of the shapes of unit circumradius: square 2, ellipse pi/2; the heart's 3.66197 is that of
// (x^2 + y^2 - 1)^3 = x^2 y^3, integrated numerically, over (5/4)^2.
TEST(SpriteImage, AreasAreThoseOfTheCurves) {
  const double unit_area[] = {2.0, 1.5707963, 3.661970 / 1.5625};
  constexpr int kResolution = 512;
  for (const int shape : {square, ellipse, heart}) {
    for (int scale = 0; scale < kSpriteScales; ++scale) {
      const double radius = 0.2 * (0.5 + 0.1 * scale);
      const double want = unit_area[shape] * radius * radius;
      const double got = area_of(image_of({shape, scale, 7, 13, 21}, kResolution));
      // Pixel centres miscount a part of the outline's pixels: well below 1 % at this resolution.
      EXPECT_NEAR(got, want, 0.01 * want) << "shape " << shape << " scale " << scale;
    }
  }
}

TEST(SpriteImage, AreaGrowsWithScale) {
  for (const int shape : {square, ellipse, heart}) {
    double before = 0.0;
    for (int scale = 0; scale < kSpriteScales; ++scale) {
      const double area = area_of(image_of({shape, scale, 0, 16, 16}, 64));
      EXPECT_GT(area, before) << "shape " << shape << " scale " << scale;
      before = area;
    }
  }
}

TEST(SpriteImage, StaysInsideTheImage) {
  // A border of black pixels around the largest sprites, at all corners and all orientations.
  constexpr int n = 64;
  for (const int shape : {square, ellipse, heart}) {
    for (int orientation = 0; orientation < kSpriteOrientations; ++orientation) {
      for (const int corner : {0, 1, 2, 3}) {
        const auto image =
            image_of({shape, 5, orientation, 31 * (corner & 1), 31 * (corner / 2)}, n);
        float border = 0.0f;
        for (int i = 0; i < n; ++i) {
          for (const int at : {i, (n - 1) * n + i, i * n, i * n + n - 1}) {
            border += image[static_cast<size_t>(at)];
          }
        }
        EXPECT_EQ(border, 0.0f) << shape << " orientation " << orientation << " corner " << corner;
        EXPECT_GT(area_of(image), 0.05);
      }
    }
  }
}

TEST(SpriteImage, PositionMovesTheCentre) {
  constexpr int n = 128;
  for (const int shape : {square, ellipse}) {  // symmetric about their centre
    for (const int pos_x : {0, 10, 31}) {
      for (const int pos_y : {0, 21, 31}) {
        const auto image = image_of({shape, 3, 5, pos_x, pos_y}, n);
        double sum = 0.0, x = 0.0, y = 0.0;
        for (int row = 0; row < n; ++row) {
          for (int col = 0; col < n; ++col) {
            const double v = image[static_cast<size_t>(row * n + col)];
            sum += v, x += v * (col + 0.5) / n, y += v * (row + 0.5) / n;
          }
        }
        const double half_pixel = 0.5 / n;
        EXPECT_NEAR(x / sum, 0.22 + 0.56 * pos_x / 31.0, half_pixel);
        EXPECT_NEAR(y / sum, 0.22 + 0.56 * pos_y / 31.0, half_pixel);
      }
    }
  }
}

TEST(SpriteImage, ASquareLooksTheSameAfterAQuarterTurnAndAHeartDoesNot) {
  for (int orientation = 0; orientation < 30; ++orientation) {
    const SpriteFactors f{square, 4, orientation, 9, 23};
    SpriteFactors turned = f;
    turned.orientation += 10;
    EXPECT_EQ(image_of(f, 64), image_of(turned, 64)) << orientation;
  }
  const auto ellipse_at = [](int o) { return image_of({ellipse, 5, o, 16, 16}, 64); };
  EXPECT_EQ(ellipse_at(3), ellipse_at(23));
  EXPECT_GT(differing(ellipse_at(3), ellipse_at(13)), 50);
  std::set<std::vector<float>> hearts;
  for (int orientation = 0; orientation < kSpriteOrientations; ++orientation) {
    hearts.insert(image_of({heart, 5, orientation, 16, 16}, 64));
  }
  EXPECT_EQ(hearts.size(), 40u) << "all orientations of a heart are different images";
}

TEST(SpriteImage, TheHeartIsUprightAndItsOwnMirrorImage) {
  // Position 31 - p mirrors position p, so the pair is symmetric about the image's centre line.
  constexpr int n = 64;
  const auto left = image_of({heart, 5, 0, 10, 16}, n), right = image_of({heart, 5, 0, 21, 16}, n);
  std::vector<float> mirrored(right.size());
  for (int row = 0; row < n; ++row) {
    for (int col = 0; col < n; ++col) {
      mirrored[static_cast<size_t>(row * n + col)] =
          right[static_cast<size_t>(row * n + n - 1 - col)];
    }
  }
  EXPECT_LE(differing(left, mirrored), 2) << "centres are rounded to float";
  // The tip points down: the widest row lies in the upper half of the sprite, the last one is
  // narrow.
  std::vector<int> widths;
  for (int row = 0; row < n; ++row) {
    const auto begin = left.begin() + row * n;
    const auto width = static_cast<int>(std::count(begin, begin + n, 1.0f));
    if (width > 0) widths.push_back(width);
  }
  const auto widest = std::max_element(widths.begin(), widths.end()) - widths.begin();
  EXPECT_LT(widest, static_cast<ptrdiff_t>(widths.size()) / 2);
  EXPECT_LE(widths.back(), 3);
}

TEST(SpriteImage, OrientationTurnsCounterClockwise) {
  constexpr int n = 128;
  const SpritePose pose = sprite_pose({heart, 5, 0, 16, 16});
  const int col = static_cast<int>(pose.center_x * n), row = static_cast<int>(pose.center_y * n);
  // At 3/4 of the radius from the centre lies the inside of the tip, or the outside of the notch
  // opposite to it. The tip points down, right, up and left in turn.
  constexpr int kReach = 19;  // 0.75 * 0.2 * 128
  const int step[4][2] = {{1, 0}, {0, 1}, {-1, 0}, {0, -1}};
  for (int quarter = 0; quarter < 4; ++quarter) {
    for (int direction = 0; direction < 4; ++direction) {
      const float pixel =
          sprite_pixel({heart, 5, 10 * quarter, 16, 16}, n, row + kReach * step[direction][0],
                       col + kReach * step[direction][1]);
      if (direction == quarter) {
        EXPECT_EQ(pixel, 1.0f) << "tip, quarter " << quarter;
      } else if (direction == (quarter + 2) % 4) {
        EXPECT_EQ(pixel, 0.0f) << "notch, quarter " << quarter;
      }
    }
  }
  // An ellipse an eighth turned rises to the right.
  EXPECT_EQ(sprite_pixel({ellipse, 5, 5, 16, 16}, n, row - 14, col + 14), 1.0f);
  EXPECT_EQ(sprite_pixel({ellipse, 5, 5, 16, 16}, n, row - 14, col - 14), 0.0f);
}

TEST(SpriteSets, WithOneSeedAndDisjointRangesShareNoSprite) {
  std::vector<bool> seen(kSpriteCount);
  for (int64_t item = 0; item < kSpriteCount; ++item) {
    const int64_t sprite = sprite_of_item(1, item);
    ASSERT_TRUE(sprite >= 0 && sprite < kSpriteCount && !seen[static_cast<size_t>(sprite)]);
    seen[static_cast<size_t>(sprite)] = true;
  }
}

TEST(SpriteSets, AreRandomSubsets) {
  // 3000 items: each shape about 1000 times (standard deviation 26), each half of x about 1500.
  int shapes[3] = {}, left = 0;
  for (int64_t item = 0; item < 3000; ++item) {
    const SpriteFactors f = sprite_factors(sprite_of_item(5, item));
    ++shapes[f.shape];
    left += f.pos_x < 16;
  }
  for (const int count : shapes) EXPECT_NEAR(count, 1000, 5 * 26);
  EXPECT_NEAR(left, 1500, 5 * 28);
  EXPECT_NE(sprite_of_item(5, 0), sprite_of_item(6, 0));
}

class SpriteGatherTest : public DeviceTest {
 protected:
  struct Batch {
    std::vector<float> x;
    std::vector<int32_t> index;
    std::vector<float> attributes;
  };

  Batch run(int resolution, int64_t batch, int64_t samples, int64_t offset, const StepState& at,
            size_t shift = 0, const std::vector<int>& attributes = {}) {
    DeviceBuffer<float> x(device(), static_cast<size_t>(batch * resolution * resolution), shift);
    DeviceBuffer<bf16> rounded(device(), x.size());
    DeviceBuffer<int32_t> index(device(), static_cast<size_t>(batch));
    DeviceBuffer<StepState> state(device(), std::vector<StepState>{at});
    SpriteGather args;
    args.resolution = resolution;
    args.batch = batch;
    args.order = {3, state.data(), samples, true, 0};
    args.offset = offset;
    args.x = x.data();
    args.x_bf16 = rounded.data();
    args.index = index.data();
    args.split_seed = 9;
    DeviceBuffer<float> told(device(), static_cast<size_t>(batch) * attributes.size());
    if (!attributes.empty()) args.attributes = told.data();
    args.attribute_count = static_cast<int>(attributes.size());
    std::copy(attributes.begin(), attributes.end(), args.attribute);
    gather_sprites(exec(), args);
    EXPECT_EQ(bits_of(rounded.download()), bits_of_rounded(x.download()));
    return {x.download(), index.download(), told.download()};
  }
};

TEST_P(SpriteGatherTest, EveryPixelIsThatOfTheDefinition) {
  StepState at;
  at.epoch = 2;
  at.position = 40;
  for (const int resolution : {1, 7, 16, 32, 33}) {
    for (const size_t shift : {0, 1}) {
      const Batch batch = run(resolution, 9, 100, 500, at, shift);
      const auto pixels = static_cast<size_t>(resolution * resolution);
      for (size_t b = 0; b < 9; ++b) {
        const auto want = image_of(sprite_factors(batch.index[b]), resolution);
        const auto row = batch.x.begin() + static_cast<ptrdiff_t>(b * pixels);
        EXPECT_EQ(std::vector<float>(row, row + static_cast<ptrdiff_t>(pixels)), want)
            << "row " << b << " at " << resolution;
      }
    }
  }
}

// In any order, and more images than blocks.
TEST_P(SpriteGatherTest, AttributesAreTheFactorsInTheirUnits) {
  const auto expected = [](const SpriteFactors& f, int which) {
    return which == 0   ? f.pos_x / 31.0
           : which == 1 ? f.pos_y / 31.0
           : which == 2 ? 0.5 + 0.1 * f.scale
                        : 2 * 3.14159265358979 * f.orientation / 40;
  };
  for (const auto& which : {std::vector<int>{0, 1, 2, 3}, {3, 1}, {2}}) {
    const int64_t rows = which.size() == 1 ? 1500 : 9;
    const Batch batch = run(3, rows, 2000, 500, StepState{}, 0, which);
    for (int64_t b = 0; b < rows; ++b) {
      const SpriteFactors factors = sprite_factors(batch.index[static_cast<size_t>(b)]);
      for (size_t k = 0; k < which.size(); ++k) {
        ASSERT_NEAR(batch.attributes[static_cast<size_t>(b) * which.size() + k],
                    expected(factors, which[k]), 1e-6)
            << "row " << b << ", attribute " << which[k];
      }
    }
  }
}

TEST_P(SpriteGatherTest, ALargeBatchGivesBlocksSeveralImages) {
  constexpr int n = 3;
  const Batch batch = run(n, 1500, 2000, 0, StepState{});
  for (size_t b = 0; b < 1500; ++b) {
    const auto row = batch.x.begin() + static_cast<ptrdiff_t>(b * n * n);
    ASSERT_EQ(std::vector<float>(row, row + n * n), image_of(sprite_factors(batch.index[b]), n))
        << b;
  }
}

TEST_P(SpriteGatherTest, AnEpochVisitsTheItemsOfTheSetOnce) {
  std::vector<int32_t> seen, want;
  StepState at;
  for (const int64_t batch : {32, 32, 11}) {  // 75 samples with a tail batch
    const auto index = run(2, batch, 75, 1000, at).index;
    seen.insert(seen.end(), index.begin(), index.end());
    at.position += static_cast<uint64_t>(batch);
  }
  for (int64_t item = 1000; item < 1075; ++item) {
    want.push_back(static_cast<int32_t>(sprite_of_item(9, item)));
  }
  std::sort(seen.begin(), seen.end());
  std::sort(want.begin(), want.end());
  EXPECT_EQ(seen, want);
}

TEST_P(SpriteGatherTest, EveryThreadOrderGivesTheSameBits) {
  for_each_order(device(), [&] { return run(16, 5, 50, 0, StepState{}).x; });
}

TEST_P(SpriteGatherTest, RefusesWhatItCannotDo) {
  expect_no_launch();
  SpriteGather args;
  gather_sprites(exec(), args);  // an empty batch
  DeviceBuffer<float> x(device(), 16);
  args.batch = 1;
  EXPECT_EQ(error_of([&] { gather_sprites(exec(), args); }), "1: gather_sprites: x is null");
  args.x = x.data();
  EXPECT_EQ(error_of([&] { gather_sprites(exec(), args); }),
            "1: gather_sprites: resolution is 0; needs 1 to 16384");
  args.resolution = 4;
  args.order.samples = 10;
  args.offset = kSpriteCount - 9;
  EXPECT_EQ(error_of([&] { gather_sprites(exec(), args); }),
            "1: gather_sprites: items 737271 to 737281 are not all among the 737280 sprites");
  args.attribute_count = 1;
  EXPECT_EQ(error_of([&] { gather_sprites(exec(), args); }),
            "1: gather_sprites: 1 attributes of 4, and attributes is null");
  args.attributes = x.data();
  args.attribute_count = 5;
  EXPECT_EQ(error_of([&] { gather_sprites(exec(), args); }),
            "1: gather_sprites: 5 attributes of 4");
  args.attribute_count = -1;
  EXPECT_EQ(error_of([&] { gather_sprites(exec(), args); }),
            "1: gather_sprites: -1 attributes of 4");
}

INSTANTIATE_TEST_SUITE_P(Devices, SpriteGatherTest, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
