#include "models/audit_data.h"

#include <algorithm>

#include "engine/io/attributes.h"
#include "kernels/error.h"
#include "kernels/sprites.h"
#include "models/audit_random.h"

namespace elbo {
namespace {

constexpr uint8_t kThreshold = 128;  // of the fixed variant: at least half of full white

bool black_and_white(const std::vector<uint8_t>& pixels) {
  return std::all_of(pixels.begin(), pixels.end(), [](uint8_t p) { return p == 0 || p == 255; });
}

}  // namespace

std::string_view data_variant_name(DataVariant variant) {
  switch (variant) {
    case DataVariant::grey:
      return "grey";
    case DataVariant::dynamic:
      return "dynamic";
    case DataVariant::fixed:
      return "fixed";
    case DataVariant::dequantised:
      return "dequantised";
  }
  throw Error("unknown data variant");
}

DataVariant parse_data_variant(std::string_view name) {
  for (DataVariant variant :
       {DataVariant::grey, DataVariant::dynamic, DataVariant::fixed, DataVariant::dequantised}) {
    if (name == data_variant_name(variant)) return variant;
  }
  throw_error(ErrorCode::usage, "--variant is '", name,
              "'; expected grey, dynamic, fixed or dequantised");
}

AuditData::AuditData(std::vector<uint8_t> pixels, int64_t size, DataVariant variant)
    : pixels_(std::move(pixels)), size_(size), variant_(variant) {
  ELBO_CHECK(size > 0 && !pixels_.empty() && pixels_.size() % static_cast<size_t>(size) == 0,
             "audit data: ", pixels_.size(), " pixels do not make images of ", size);
  if (variant != DataVariant::dequantised && black_and_white(pixels_))
    variant_ = DataVariant::fixed;
}

AuditData AuditData::from_split(const ImageSplit& split, DataVariant variant, int64_t limit) {
  const int64_t size = split.channels * split.height * split.width;
  const int64_t count = limit > 0 ? std::min(limit, split.count) : split.count;
  const std::span<const uint8_t> pixels = split.pixels().first(static_cast<size_t>(count * size));
  AuditData data({pixels.begin(), pixels.end()}, size, variant);
  if (!split.labels.empty()) {
    data.set_labels({split.labels.begin(), split.labels.begin() + count});
  }
  const int64_t numbers = std::ssize(split.attribute_names);
  data.set_attributes(split.attribute_names,
                      {split.attributes.begin(), split.attributes.begin() + count * numbers});
  return data;
}

AuditData AuditData::sprites(int resolution, int64_t first, int64_t count,
                             const std::vector<std::string>& attributes) {
  const std::vector<int64_t> columns =
      attribute_columns(attributes, sprite_attribute_names(), "sprites");
  std::vector<float> rows;
  std::vector<uint8_t> pixels, labels;
  pixels.reserve(static_cast<size_t>(count) * resolution * resolution);
  for (int64_t item = first; item < first + count; ++item) {
    // The split is the program's own (seed 0), as in ImageData::sprites.
    const SpriteFactors factors = sprite_factors(sprite_of_item(0, item));
    labels.push_back(static_cast<uint8_t>(factors.shape));
    for (const int64_t column : columns)
      rows.push_back(sprite_attribute(factors, static_cast<int>(column)));
    for (int row = 0; row < resolution; ++row) {
      for (int col = 0; col < resolution; ++col) {
        pixels.push_back(sprite_pixel(factors, resolution, row, col) > 0.5f ? 255 : 0);
      }
    }
  }
  AuditData data(std::move(pixels), int64_t{resolution} * resolution, DataVariant::fixed);
  data.set_labels(std::move(labels));
  data.set_attributes(attributes.empty() ? sprite_attribute_names() : attributes, std::move(rows));
  return data;
}

std::vector<uint8_t> AuditData::labels(int64_t first, int64_t count) const {
  if (labels_.empty()) return {};
  return {labels_.begin() + first, labels_.begin() + first + count};
}

void AuditData::set_attributes(std::vector<std::string> names, std::vector<float> rows) {
  ELBO_CHECK(std::ssize(rows) == count() * std::ssize(names), "audit data: ", rows.size(),
             " numbers are not ", names.size(), " attributes of ", count(), " images");
  attribute_names_ = std::move(names);
  attributes_ = std::move(rows);
}

std::vector<double> AuditData::attributes(int64_t first, int64_t count) const {
  const int64_t numbers = std::ssize(attribute_names_);
  const auto begin = attributes_.begin() + first * numbers;
  return {begin, begin + count * numbers};
}

std::vector<double> AuditData::images(int64_t first, int64_t count, uint64_t seed) const {
  std::vector<double> x(static_cast<size_t>(count * size_));
  for (int64_t i = 0; i < count; ++i) {
    const uint8_t* pixels = pixels_.data() + (first + i) * size_;
    double* row = x.data() + i * size_;
    if (variant_ == DataVariant::grey) {
      for (int64_t d = 0; d < size_; ++d) row[d] = pixels[d] / 255.0;
    } else if (variant_ == DataVariant::fixed) {
      for (int64_t d = 0; d < size_; ++d) row[d] = pixels[d] >= kThreshold ? 1.0 : 0.0;
    } else if (variant_ == DataVariant::dequantised) {
      std::mt19937_64 engine = audit_engine(seed, AuditStream::dequantise, first + i);
      std::uniform_real_distribution<double> uniform;  // [0, 1)
      for (int64_t d = 0; d < size_; ++d) row[d] = (pixels[d] + uniform(engine)) / 256.0;
    } else {
      std::mt19937_64 engine = audit_engine(seed, AuditStream::binarise, first + i);
      std::uniform_real_distribution<double> uniform;  // [0, 1)
      for (int64_t d = 0; d < size_; ++d) row[d] = uniform(engine) * 255.0 < pixels[d] ? 1.0 : 0.0;
    }
  }
  return x;
}

}  // namespace elbo
