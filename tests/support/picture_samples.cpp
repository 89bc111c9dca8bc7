#include "tests/support/picture_samples.h"

#include <cmath>

// apps/ compiles one of its own.
#define STB_IMAGE_WRITE_STATIC
#define STBI_WRITE_NO_STDIO
#define STB_IMAGE_WRITE_IMPLEMENTATION
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb_image_write.h>
#pragma GCC diagnostic pop

namespace elbo {
namespace {

void append(void* text, void* bytes, int size) {
  static_cast<std::string*>(text)->append(static_cast<const char*>(bytes),
                                          static_cast<size_t>(size));
}

}  // namespace

SamplePicture sample_picture(int height, int width, int channels, int seed) {
  SamplePicture picture{height, width, channels, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < channels; ++c) {
        const double wave =
            std::sin(0.1 * (seed + 1) + 0.23 * x + 0.7 * c) * std::cos(0.17 * y - 0.3 * seed);
        picture.pixels.push_back(static_cast<uint8_t>(std::lround(127.5 + 120 * wave)));
      }
    }
  }
  return picture;
}

std::string png_file(const SamplePicture& p) {
  std::string file;
  stbi_write_png_to_func(append, &file, p.width, p.height, p.channels, p.pixels.data(),
                         p.width * p.channels);
  return file;
}

std::string jpeg_file(const SamplePicture& p) {
  constexpr int kQuality = 95;
  std::string file;
  stbi_write_jpg_to_func(append, &file, p.width, p.height, p.channels, p.pixels.data(), kQuality);
  return file;
}

std::string bmp_file(const SamplePicture& p) {
  std::string file;
  stbi_write_bmp_to_func(append, &file, p.width, p.height, p.channels, p.pixels.data());
  return file;
}

std::string pnm_file(const SamplePicture& p) {
  std::string file = p.channels == 3 ? "P6\n" : "P5\n";
  file += "# a comment\n" + std::to_string(p.width) + " " + std::to_string(p.height) + "\n255\n";
  return file.append(reinterpret_cast<const char*>(p.pixels.data()), p.pixels.size());
}

}  // namespace elbo
