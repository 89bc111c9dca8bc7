// Picture files in memory, for tests of their readers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace elbo {

struct SamplePicture {
  int height = 0, width = 0, channels = 0;  // channels 1 to 4: grey, grey + alpha, RGB, RGBA
  std::vector<uint8_t> pixels;              // [height, width, channels]
};

// A smooth pattern that differs with `seed`; smooth, so that a JPEG keeps it nearly as it is.
SamplePicture sample_picture(int height, int width, int channels, int seed = 0);

std::string png_file(const SamplePicture& picture);
std::string jpeg_file(const SamplePicture& picture);
std::string bmp_file(const SamplePicture& picture);
std::string pnm_file(const SamplePicture& picture);  // grey or RGB

}  // namespace elbo
