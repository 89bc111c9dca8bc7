// Images in host memory, as every reader of a data set leaves them: bytes, channels last.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace elbo {

// One split of an image set. Move-only would be enough, but copies are correct too.
struct ImageSplit {
  std::string source;  // what it was read from, for messages
  int64_t count = 0;
  int64_t channels = 1;
  int64_t height = 0;
  int64_t width = 0;
  std::vector<std::byte> file;  // may begin with a file's header, so that nothing is copied
  size_t pixels_begin = 0;
  std::vector<uint8_t> labels;  // empty if the set has none
  // Numbers that the set says of each image (engine/io/attributes.h): [N, names], in its own units.
  std::vector<float> attributes;
  std::vector<std::string> attribute_names;  // empty if there are none

  std::span<const uint8_t> pixels() const {  // [N, H, W, C], 0..255
    return {reinterpret_cast<const uint8_t*>(file.data()) + pixels_begin,
            file.size() - pixels_begin};
  }
  std::span<uint8_t> pixels() {
    return {reinterpret_cast<uint8_t*>(file.data()) + pixels_begin, file.size() - pixels_begin};
  }
  int64_t image_bytes() const { return channels * height * width; }
};

struct ImageSet {
  ImageSplit train;
  ImageSplit test;
  std::string format;                    // "IDX", "CIFAR-10", ... as people call it
  std::vector<std::string> class_names;  // by label; may be empty where there are labels
};

// Turns images [N, C, H, W] into [N, H, W, C], in place.
void put_channels_last(std::span<uint8_t> pixels, int64_t channels, int64_t height, int64_t width);

// Leaves out all images with a label. Throws ErrorCode::data if there are no labels, no such image, or
// no other.
void drop_label(ImageSplit& split, int label);

// Throws ErrorCode::data unless both splits hold images of one size.
void check_same_shape(const ImageSplit& train, const ImageSplit& test);

// "32 x 32, 3 channels", "28 x 28".
std::string image_size_text(const ImageSplit& split);

}  // namespace elbo
