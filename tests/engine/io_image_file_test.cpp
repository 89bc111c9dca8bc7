#include "engine/io/image_file.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/support/error_of.h"
#include "tests/support/malformed.h"
#include "tests/support/picture_samples.h"

namespace elbo {
namespace {

std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

Raster decoded(const std::string& file, int64_t channels = 3) {
  return decode_picture(as_bytes(file), channels);
}
std::string refusal(const std::string& file) {
  return error_of([&] { decoded(file); });
}

int largest_difference(const std::vector<uint8_t>& a, const std::vector<uint8_t>& b) {
  int largest = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    largest = std::max(largest, std::abs(int{a[i]} - int{b[i]}));
  return a.size() == b.size() ? largest : 256;
}

TEST(ImageFile, EveryFormatComesBackAsItWas) {
  const SamplePicture colour = sample_picture(20, 31, 3), grey = sample_picture(20, 31, 1);
  for (const std::string& file : {png_file(colour), bmp_file(colour), pnm_file(colour)}) {
    const Raster raster = decoded(file);
    EXPECT_EQ(raster.height, 20);
    EXPECT_EQ(raster.width, 31);
    EXPECT_EQ(raster.channels, 3);
    EXPECT_EQ(raster.pixels, colour.pixels);
    EXPECT_EQ(inspect_picture(as_bytes(file)).channels, 3);
  }
  for (const std::string& file : {png_file(grey), pnm_file(grey)}) {
    EXPECT_EQ(decoded(file, 1).pixels, grey.pixels);
    EXPECT_EQ(inspect_picture(as_bytes(file)).channels, 1);
  }
  EXPECT_LT(largest_difference(decoded(jpeg_file(colour)).pixels, colour.pixels), 12);
  EXPECT_LT(largest_difference(decoded(jpeg_file(grey), 1).pixels, grey.pixels), 6);
}

TEST(ImageFile, AlphaIsDroppedAndColoursBecomeGrey) {
  const SamplePicture rgba = sample_picture(5, 7, 4);
  const std::string file = png_file(rgba);
  EXPECT_EQ(inspect_picture(as_bytes(file)).channels, 3);
  const Raster colour = decoded(file), grey = decoded(file, 1);
  ASSERT_EQ(colour.pixels.size(), 105u);
  for (size_t i = 0; i < 35; ++i) {
    for (size_t c = 0; c < 3; ++c) EXPECT_EQ(colour.pixels[3 * i + c], rgba.pixels[4 * i + c]);
    const uint8_t* p = rgba.pixels.data() + 4 * i;
    EXPECT_NEAR(grey.pixels[i], 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2], 1.5);
  }
  const Raster widened = decoded(png_file(sample_picture(2, 2, 1)), 3);
  EXPECT_EQ(widened.pixels[0], widened.pixels[2]);
  EXPECT_EQ(inspect_picture(as_bytes(png_file(sample_picture(4, 4, 2)))).channels, 1);
}

TEST(ImageFile, NetpbmIsScaledToBytes) {
  EXPECT_EQ(decoded(std::string("P5 3 1 4\n\0\2\4", 12), 1).pixels,
            (std::vector<uint8_t>{0, 128, 255}));
  EXPECT_EQ(decoded(std::string("P5\n2 1\n65535\n\xff\xff\x80\0", 17), 1).pixels,
            (std::vector<uint8_t>{255, 128}));
  EXPECT_EQ(decoded("P5#c\n1#d\n1 1 \1", 1).pixels, (std::vector<uint8_t>{255}));
}

TEST(ImageFile, NamesAreKnownByTheirSuffix) {
  for (const char* name : {"a.png", "b.JPG", "c.x.jpeg", ".bmp", "d.pgm", "e.Ppm"})
    EXPECT_TRUE(is_picture_name(name)) << name;
  for (const char* name : {"png", "a.gif", "a.png.txt", "", "a.pn"})
    EXPECT_FALSE(is_picture_name(name)) << name;
}

TEST(ImageFile, RefusesWhatIsNotWhole) {
  EXPECT_EQ(refusal(""), "4: is empty");
  EXPECT_EQ(refusal("<html>"), "4: is no PNG, JPEG, BMP, binary PGM or PPM");
  const std::string png = png_file(sample_picture(9, 9, 3));
  EXPECT_EQ(refusal(png.substr(0, png.size() - 1)), "4: ends too early");
  std::string changed = png;
  changed[png.size() / 2] ^= 1;
  EXPECT_EQ(refusal(changed).substr(0, 38), "4: has a wrong checksum at byte 33")
      << refusal(changed);
  const std::string jpeg = jpeg_file(sample_picture(64, 64, 3));
  EXPECT_EQ(refusal(jpeg.substr(0, jpeg.size() / 2)), "4: ends too early");
  const std::string bmp = bmp_file(sample_picture(9, 9, 3));
  EXPECT_EQ(refusal(bmp.substr(0, bmp.size() - 1)), "4: ends too early");
  EXPECT_EQ(refusal("P6 2 2 255\n12345678901"), "4: has 11 bytes of pixels, expected 12");
  EXPECT_EQ(refusal("P5 2 x"), "4: has no number where its header needs one");
  EXPECT_EQ(refusal("P5 0 2 255\n"), "4: declares 2 x 0 pixels");
}

TEST(ImageFile, WildSizesAreRefusedBeforeAllocation) {
  EXPECT_EQ(refusal("P5 99999999999999999999 2 255\n"),
            "4: declares 2 x 1048576 pixels, expected at most 67108864 and 32768 a side");
  EXPECT_EQ(refusal("P6 30000 30000 255\n"),
            "4: declares 30000 x 30000 pixels, expected at most 67108864 and 32768 a side");
  // A JPEG whose frame claims more than its bytes could say.
  std::string jpeg = jpeg_file(sample_picture(8, 8, 1));
  const size_t frame = jpeg.find("\xff\xc0");
  ASSERT_NE(frame, std::string::npos);
  jpeg.replace(frame + 5, 4, big_endian(0x1f401f40));  // 8000 x 8000
  EXPECT_EQ(refusal(jpeg), "4: declares 8000 x 8000 pixels, which " + std::to_string(jpeg.size()) +
                               " bytes cannot hold");
}

TEST(ImageFile, JpegTablesOfMoreCodesThanThereCanBeAreRefused) {
  const std::string jpeg = jpeg_file(sample_picture(8, 8, 3));
  const size_t table = jpeg.find("\xff\xc4");
  ASSERT_NE(table, std::string::npos);
  std::string changed = jpeg;
  changed.replace(table + 5, 2, "\xff\x02");  // 255 codes of 1 bit and 2 of 2 bits
  EXPECT_EQ(refusal(changed).substr(0, 18), "4: has a table of ") << refusal(changed);
  changed = jpeg;
  changed.replace(table + 2, 2, big_endian(10, 2));
  EXPECT_EQ(refusal(changed), "4: has a table of codes that ends too early");
}

// Damage of every kind is refused with ErrorCode::data, or decodes to a picture of the declared size.
class ImageFileMalformed : public testing::Test {
 protected:
  void examine(const std::string& file) {
    ++files;
    try {
      const Raster raster = decoded(file);
      ++accepted;
      EXPECT_EQ(static_cast<int64_t>(raster.pixels.size()), raster.height * raster.width * 3);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::data) << error.what();
    }
  }
  int64_t files = 0, accepted = 0;
};

TEST_F(ImageFileMalformed, EveryTruncationIsRefused) {
  const SamplePicture picture = sample_picture(8, 11, 3);
  for (const std::string& file :
       {png_file(picture), jpeg_file(picture), bmp_file(picture), pnm_file(picture)}) {
    for_each_truncation(file, [&](const std::string& part) { examine(part); });
  }
  EXPECT_EQ(accepted, 0);
  EXPECT_GT(files, 1500);
}

TEST_F(ImageFileMalformed, EveryChangedByteIsRefusedOrHarmless) {
  const SamplePicture picture = sample_picture(6, 7, 3);
  const std::string png = png_file(picture);
  for_each_changed_byte(png, [&](const std::string& file) {
    if (file != png) examine(file);
  });
  EXPECT_EQ(accepted, 0) << "every byte is under a checksum";
  for (const std::string& file : {jpeg_file(picture), bmp_file(picture), pnm_file(picture),
                                  bmp_file(sample_picture(6, 7, 4))}) {
    for_each_changed_byte(file, [&](const std::string& changed) { examine(changed); });
  }
  EXPECT_GT(files, 5000);
}

}  // namespace
}  // namespace elbo
