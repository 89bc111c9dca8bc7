#include "engine/io/image_set.h"

#include <algorithm>

#include "kernels/error.h"

namespace elbo {

void put_channels_last(std::span<uint8_t> pixels, int64_t channels, int64_t height, int64_t width) {
  if (channels == 1) return;
  const int64_t plane = height * width, size = channels * plane;
  ELBO_CHECK(size > 0 && static_cast<int64_t>(pixels.size()) % size == 0, pixels.size(),
             " pixels are not whole images of ", size);
  std::vector<uint8_t> image(static_cast<size_t>(size));
  for (auto* at = pixels.data(); at != pixels.data() + pixels.size(); at += size) {
    std::copy(at, at + size, image.begin());
    for (int64_t p = 0; p < plane; ++p) {
      for (int64_t c = 0; c < channels; ++c)
        at[p * channels + c] = image[static_cast<size_t>(c * plane + p)];
    }
  }
}

std::string image_size_text(const ImageSplit& split) {
  const std::string size = concat(split.height, " x ", split.width);
  return split.channels == 1 ? size : concat(size, ", ", split.channels, " channels");
}

void check_same_shape(const ImageSplit& train, const ImageSplit& test) {
  if (train.channels == test.channels && train.height == test.height && train.width == test.width)
    return;
  throw_error(ErrorCode::data, test.source, ": images are ", image_size_text(test), ", expected ",
              image_size_text(train), " as in ", train.source, "; take both files from one source");
}

}  // namespace elbo
