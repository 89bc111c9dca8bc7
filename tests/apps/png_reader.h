// A PNG decoder of its own for tests: 8-bit grey or RGB, all filters, every checksum verified.
#pragma once

#include <gtest/gtest.h>
#include <zlib.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "apps/image_grid.h"

namespace elbo::testing_apps {

inline uint32_t big_endian(const std::string& bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(bytes.at(at + i));
  return value;
}

inline int paeth(int a, int b, int c) {
  const int p = a + b - c, pa = std::abs(p - a), pb = std::abs(p - b), pc = std::abs(p - c);
  return pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
}

inline Picture decode_png(const std::string& png) {
  Picture picture;
  std::string compressed;
  EXPECT_EQ(png.substr(0, 8), "\x89PNG\r\n\x1a\n");
  for (size_t at = 8; at + 12 <= png.size();) {
    const uint32_t size = big_endian(png, at);
    const std::string type_and_data = png.substr(at + 4, 4 + size);
    const auto* bytes = reinterpret_cast<const Bytef*>(type_and_data.data());
    EXPECT_EQ(crc32(0, bytes, static_cast<uInt>(type_and_data.size())),
              big_endian(png, at + 8 + size));
    if (type_and_data.starts_with("IHDR")) {
      picture.width = big_endian(type_and_data, 4);
      picture.height = big_endian(type_and_data, 8);
      EXPECT_EQ(type_and_data[12], 8);  // bits
      picture.channels = type_and_data[13] == 0 ? 1 : 3;
    }
    if (type_and_data.starts_with("IDAT")) compressed += type_and_data.substr(4);
    at += 12 + size;
  }
  const auto stride = static_cast<size_t>(picture.width * picture.channels);
  std::vector<uint8_t> raw((stride + 1) * static_cast<size_t>(picture.height));
  uLongf raw_size = raw.size();
  EXPECT_EQ(uncompress(raw.data(), &raw_size, reinterpret_cast<const Bytef*>(compressed.data()),
                       compressed.size()),
            Z_OK);
  EXPECT_EQ(raw_size, raw.size());
  picture.pixels.resize(stride * static_cast<size_t>(picture.height));
  const auto step = static_cast<size_t>(picture.channels);
  for (size_t y = 0; y < static_cast<size_t>(picture.height); ++y) {
    const int filter = raw[y * (stride + 1)];
    for (size_t x = 0; x < stride; ++x) {
      uint8_t* out = &picture.pixels[y * stride + x];
      const int left = x >= step ? *(out - step) : 0;
      const int above = y > 0 ? *(out - stride) : 0;
      const int corner = x >= step && y > 0 ? *(out - stride - step) : 0;
      const int predictions[5] = {0, left, above, (left + above) / 2, paeth(left, above, corner)};
      *out = static_cast<uint8_t>(raw[y * (stride + 1) + 1 + x] + predictions[filter]);
    }
  }
  return picture;
}

}  // namespace elbo::testing_apps
