// One picture file in memory: PNG, JPEG, BMP, binary PGM or PPM.
//
// The decoder (stb_image) forgives much: it looks at no checksum of a PNG and makes up what a cut-off
// JPEG or BMP lacks. So files are first checked to be whole here, and only then decoded.
//
// Channels  1 or 3: alpha is dropped, 16 bits become 8, palettes become colours
// Limits    32768 pixels a side, 64 million in all: nothing is allocated before they are checked
// Errors    ErrorCode::data without the file's name, which the caller knows: "ends too early"
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace elbo {

struct Raster {
  int64_t height = 0, width = 0, channels = 0;
  std::vector<uint8_t> pixels;  // [height, width, channels]
};

struct PictureInfo {
  int64_t height = 0, width = 0;
  int64_t channels = 1;  // without alpha
};

// By its name: .png .jpg .jpeg .bmp .pgm .ppm, in any case.
bool is_picture_name(std::string_view name);

// Throws for anything but a whole file of a known format, within the limits.
PictureInfo inspect_picture(std::span<const std::byte> file);

// With `channels` 1 or 3; colours become grey by 0.30 red + 0.59 green + 0.11 blue.
Raster decode_picture(std::span<const std::byte> file, int64_t channels);

// Beneath them: does the file go on to its proper end? PNG: with every checksum right, and no more
// behind its compression than the size calls for.
void check_whole_png(std::span<const std::byte> file);
void check_whole_jpeg(std::span<const std::byte> file);
void check_whole_bmp(std::span<const std::byte> file);

}  // namespace elbo
