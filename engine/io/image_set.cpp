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

void drop_label(ImageSplit& split, int label) {
  if (split.labels.empty()) {
    throw_error(ErrorCode::data, split.source, ": the images have no labels to leave ", label,
                " out by");
  }
  const int64_t size = split.image_bytes();
  uint8_t* const pixels = split.pixels().data();
  const int64_t numbers = std::ssize(split.attribute_names);
  float* const attributes = split.attributes.data();
  int64_t kept = 0;
  for (int64_t i = 0; i < split.count; ++i) {
    if (split.labels[static_cast<size_t>(i)] == label) continue;
    if (kept < i) {
      std::copy_n(pixels + i * size, size, pixels + kept * size);
      std::copy_n(attributes + i * numbers, numbers, attributes + kept * numbers);
    }
    split.labels[static_cast<size_t>(kept++)] = split.labels[static_cast<size_t>(i)];
  }
  if (kept == 0 || kept == split.count) {
    throw_error(ErrorCode::data, split.source, ": ", split.count - kept, " of ", split.count,
                " images have label ", label, ", expected some but not all");
  }
  split.count = kept;
  split.labels.resize(static_cast<size_t>(kept));
  split.attributes.resize(static_cast<size_t>(kept * numbers));
  split.file.resize(split.pixels_begin + static_cast<size_t>(kept * size));
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
