// The images that a model is audited on, and which variant of the data they are: figures of different
// variants must not be compared.
//
//   grey      x = p / 255: real values as Bernoulli targets, a cross-entropy and no likelihood
//   dynamic   x = 1 with probability p / 255, drawn here, once per image
//   fixed     x = p >= 128; also what a set of black and white pixels is as grey or dynamic
//   dequantised  x = (p + u) / 256 with u uniform, drawn here, once per image: densities bound bits by it
//
// Shapes    pixels [count, size] row-major
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/io/idx.h"

namespace elbo {

enum class DataVariant { grey, dynamic, fixed, dequantised };

std::string_view data_variant_name(DataVariant variant);
// Throws ErrorCode::usage for anything but the four names.
DataVariant parse_data_variant(std::string_view name);

class AuditData {
 public:
  // The first `limit` images of a split; all if limit is 0.
  static AuditData from_split(const ImageSplit& split, DataVariant variant, int64_t limit);
  // Items [first, first + count) of the program's sprite set, with these of their attributes; all
  // if none are named.
  static AuditData sprites(int resolution, int64_t first, int64_t count,
                           const std::vector<std::string>& attributes = {});
  // For tests.
  AuditData(std::vector<uint8_t> pixels, int64_t size, DataVariant variant);

  int64_t count() const { return static_cast<int64_t>(pixels_.size()) / size_; }
  int64_t size() const { return size_; }
  DataVariant variant() const { return variant_; }

  // x [count, size] of images [first, first + count). Draws depend on the seed and the image only.
  std::vector<double> images(int64_t first, int64_t count, uint64_t seed) const;

  // Of the same images; empty if the set has none. That of a sprite is its shape.
  std::vector<uint8_t> labels(int64_t first, int64_t count) const;
  void set_labels(std::vector<uint8_t> labels) { labels_ = std::move(labels); }

  // [count, names], in the data's units; empty if the set has none.
  std::vector<double> attributes(int64_t first, int64_t count) const;
  const std::vector<std::string>& attribute_names() const { return attribute_names_; }
  void set_attributes(std::vector<std::string> names, std::vector<float> rows);

 private:
  std::vector<uint8_t> pixels_, labels_;
  std::vector<float> attributes_;
  std::vector<std::string> attribute_names_;
  int64_t size_ = 0;
  DataVariant variant_ = DataVariant::grey;
};

}  // namespace elbo
