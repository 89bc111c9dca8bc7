#include "apps/image_grid.h"

#include <cmath>
#include <random>

#include "apps/train_pictures.h"
#include "kernels/error.h"
#include "tests/apps/png_reader.h"

namespace elbo {
namespace {

const ImageShape kTwoByTwo{1, 2, 2};

TEST(ImageGrid, PlacesImagesRowByRowWithAFrame) {
  GridStyle style;
  style.columns = 2;
  style.padding = 1;
  style.scale = 1;
  style.background = 9;
  const std::vector<float> images = {0, 1, 1, 0, /**/ 1, 1, 1, 1, /**/ 0.5f, 0, 0, 0};
  const Picture picture = image_grid(images, kTwoByTwo, style);
  EXPECT_EQ(picture.width, 7);
  EXPECT_EQ(picture.height, 7);
  EXPECT_EQ(picture.channels, 1);
  const std::vector<uint8_t> expected = {
      9, 9,   9,   9, 9,   9,   9,  //
      9, 0,   255, 9, 255, 255, 9,  //
      9, 255, 0,   9, 255, 255, 9,  //
      9, 9,   9,   9, 9,   9,   9,  //
      9, 128, 0,   9, 9,   9,   9,  //
      9, 0,   0,   9, 9,   9,   9,  //
      9, 9,   9,   9, 9,   9,   9,  //
  };
  EXPECT_EQ(picture.pixels, expected);
}

TEST(ImageGrid, ShowsColoursWithChannelsLast) {
  GridStyle style;
  style.padding = 0;
  style.scale = 1;
  // Two pictures of 1 x 3: red, green, blue; then white, black, white.
  const std::vector<float> images = {1, 0, 0, 0, 1, 0, 0, 0, 1, /**/ 1, 1, 1, 0, 0, 0, 1, 1, 1};
  style.columns = 1;
  const Picture picture = image_grid(images, {3, 1, 3}, style);
  EXPECT_EQ(picture.width, 3);
  EXPECT_EQ(picture.height, 2);
  EXPECT_EQ(picture.pixels, (std::vector<uint8_t>{255, 0, 0, 0, 255, 0, 0, 0, 255,  //
                                                  255, 255, 255, 0, 0, 0, 255, 255, 255}));
  style.scale = 2;
  const Picture large = image_grid({1, 0, 0, 0, 1, 0}, {3, 2, 1}, style);
  EXPECT_EQ(large.width, 2);
  EXPECT_EQ(large.height, 4);
  EXPECT_EQ(large.pixels,
            (std::vector<uint8_t>{255, 0,   0, 255, 0,   0, 255, 0,   0, 255, 0,   0,  //
                                  0,   255, 0, 0,   255, 0, 0,   255, 0, 0,   255, 0}));
}

TEST(ImageGrid, EnlargesByWholePixels) {
  GridStyle style;
  style.padding = 0;
  style.scale = 2;
  const Picture picture = image_grid({0, 1}, {1, 1, 2}, style);
  EXPECT_EQ(picture.pixels, (std::vector<uint8_t>{0, 0, 255, 255, 0, 0, 255, 255}));
  style.scale = 0;  // at least 64 pixels high
  EXPECT_EQ(image_grid(std::vector<float>(784), {1, 28, 28}, style).height, 84);
  EXPECT_EQ(image_grid(std::vector<float>(4096), {1, 64, 64}, style).height, 64);
  EXPECT_EQ(image_grid(std::vector<float>(4096), {1, 1, 4096}, style).height, 1);
}

TEST(ImageGrid, CutsOffValuesThatAreNoShades) {
  GridStyle style;
  style.padding = 0;
  style.scale = 1;
  const Picture picture = image_grid({-1, 2, NAN, INFINITY}, kTwoByTwo, style);
  EXPECT_EQ(picture.pixels, (std::vector<uint8_t>{0, 255, 0, 255}));
}

TEST(ImageGrid, RefusesWhatDoesNotFit) {
  EXPECT_THROW(image_grid({}, kTwoByTwo), Error);
  EXPECT_THROW(image_grid({1, 2, 3}, kTwoByTwo), Error);
  EXPECT_THROW(image_grid({1, 2}, {2, 1, 1}), Error);
  EXPECT_THROW(paired_grid({1}, {1, 2}, {1, 1, 1}, {}), Error);
}

TEST(ImageGrid, RefusesWhatNoPngCanHoldBeforeItIsMade) {
  const ImageShape shape{1, 8, 8};
  EXPECT_NO_THROW(check_grid(64, shape, {}));
  EXPECT_THROW(check_grid(1 << 20, shape, {}), Error);
  EXPECT_THROW(check_grid(int64_t{1} << 40, {1, 1, 1}, {}), Error);
  EXPECT_THROW(check_grid(1, {2, 8, 8}, {}), Error);
}

TEST(ImageGrid, TrainingShowsFewerWhereImagesAreLarge) {
  const auto bounded = [](const ImageShape& shape) {
    const GridSize size = bounded_grid(shape, 64, 16);
    EXPECT_NO_THROW(check_grid(size.count, shape, {size.columns}));
    return std::pair(size.count, size.columns);
  };
  EXPECT_EQ(bounded({1, 28, 28}), std::pair(int64_t{64}, int64_t{16}));
  EXPECT_EQ(bounded({3, 256, 256}), std::pair(int64_t{64}, int64_t{16}));
  EXPECT_EQ(bounded({1, 1, 4096}), std::pair(int64_t{64}, int64_t{2}));
  EXPECT_EQ(bounded({1, 4096, 1}), std::pair(int64_t{64}, int64_t{16}));
  EXPECT_EQ(bounded({1, 2048, 2048}), std::pair(int64_t{4}, int64_t{4}));
  EXPECT_EQ(bounded({1, 16384, 16384}), std::pair(int64_t{1}, int64_t{1}));
}

TEST(ImageGrid, PairsOriginalsWithResultsBelow) {
  GridStyle style;
  style.columns = 2;
  style.padding = 0;
  style.scale = 1;
  style.background = 51;
  // Three pairs in rows of two: the second pair of rows is filled up with background.
  const Picture picture = paired_grid({0, 0, 0}, {1, 1, 1}, {1, 1, 1}, style);
  EXPECT_EQ(picture.width, 2);
  EXPECT_EQ(picture.pixels, (std::vector<uint8_t>{0, 0, 255, 255, 0, 51, 255, 51}));
}

TEST(ImageGrid, ASinglePairOfRowsIsAsWideAsItsImages) {
  GridStyle style;
  style.columns = 16;
  style.padding = 0;
  style.scale = 1;
  EXPECT_EQ(paired_grid({0, 0, 0}, {1, 1, 1}, {1, 1, 1}, style).width, 3);
}

TEST(Png, DecodesToTheSamePixels) {
  std::mt19937 random(3);
  for (const int64_t channels : {1, 3}) {
    Picture picture{37, 23, channels, {}};
    picture.pixels.resize(static_cast<size_t>(37 * 23 * channels));
    // Noise and flat parts, so that different filters are chosen.
    for (size_t i = 0; i < picture.pixels.size(); ++i)
      picture.pixels[i] = static_cast<uint8_t>(i % 200 < 100 ? random() : i / 7);
    const std::string bytes = png_bytes(picture);
    const Picture decoded = testing_apps::decode_png(bytes);
    EXPECT_EQ(decoded.width, picture.width);
    EXPECT_EQ(decoded.channels, picture.channels);
    EXPECT_EQ(decoded.pixels, picture.pixels);
    EXPECT_EQ(png_bytes(picture), bytes);
  }
}

TEST(Png, RefusesEmptyAndEnormousPictures) {
  EXPECT_THROW(png_bytes(Picture{}), Error);
  EXPECT_THROW(png_bytes(Picture{1 << 20, 1 << 20, 1, {}}), Error);
}

}  // namespace
}  // namespace elbo
