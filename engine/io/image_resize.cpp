#include "engine/io/image_resize.h"

#include <algorithm>
#include <cmath>

namespace elbo {
namespace {

// The source pixels that one new pixel is the mean of, and their weights.
struct Footprint {
  int64_t first = 0;
  std::vector<float> weights;
};

// Of the `out` middle ones among `scaled` new pixels that stand for `in` source pixels.
std::vector<Footprint> footprints(int64_t in, int64_t scaled, int64_t out) {
  const double step = static_cast<double>(in) / static_cast<double>(scaled);
  const double reach = std::max(step, 1.0);
  const int64_t cut = (scaled - out) / 2;  // whole new pixels: cutting must not blur
  std::vector<Footprint> all(static_cast<size_t>(out));
  for (int64_t j = 0; j < out; ++j) {
    Footprint& footprint = all[static_cast<size_t>(j)];
    const double centre = (static_cast<double>(cut + j) + 0.5) * step;
    const auto low = std::max<int64_t>(static_cast<int64_t>(std::floor(centre - reach)), 0);
    const auto high = std::min<int64_t>(static_cast<int64_t>(std::ceil(centre + reach)), in);
    double total = 0;
    std::vector<double> weights;
    for (int64_t i = low; i < high; ++i) {
      const double distance = std::abs(static_cast<double>(i) + 0.5 - centre);
      weights.push_back(std::max(0.0, 1.0 - distance / reach));
      total += weights.back();
    }
    footprint.first = low;
    for (const double weight : weights)
      footprint.weights.push_back(static_cast<float>(weight / total));
  }
  return all;
}

int64_t scaled_side(int64_t side, double scale, int64_t at_least) {
  return std::max<int64_t>(std::llround(static_cast<double>(side) * scale), at_least);
}

// One source row, shrunk to the new width.
void shrink_row(const uint8_t* row, int64_t channels, const std::vector<Footprint>& columns,
                float* into) {
  for (const Footprint& footprint : columns) {
    for (int64_t c = 0; c < channels; ++c) {
      const uint8_t* at = row + footprint.first * channels + c;
      float sum = 0;
      for (const float weight : footprint.weights) {
        sum += weight * static_cast<float>(*at);
        at += channels;
      }
      *into++ = sum;
    }
  }
}

uint8_t to_byte(float value) {
  return static_cast<uint8_t>(std::clamp(std::lround(value), 0l, 255l));
}

}  // namespace

std::vector<uint8_t> fit_picture(const Raster& raster, int64_t height, int64_t width) {
  if (raster.height == height && raster.width == width) return raster.pixels;
  const double scale = std::max(static_cast<double>(height) / static_cast<double>(raster.height),
                                static_cast<double>(width) / static_cast<double>(raster.width));
  const auto rows = footprints(raster.height, scaled_side(raster.height, scale, height), height);
  const auto columns = footprints(raster.width, scaled_side(raster.width, scale, width), width);
  const int64_t channels = raster.channels, row_size = width * channels;
  const int64_t first_row = rows.front().first;
  const int64_t last_row = rows.back().first + static_cast<int64_t>(rows.back().weights.size());
  std::vector<float> shrunk(static_cast<size_t>((last_row - first_row) * row_size));
  for (int64_t y = first_row; y < last_row; ++y) {
    shrink_row(raster.pixels.data() + y * raster.width * channels, channels, columns,
               shrunk.data() + (y - first_row) * row_size);
  }
  std::vector<uint8_t> pixels(static_cast<size_t>(height * row_size));
  std::vector<float> sums(static_cast<size_t>(row_size));
  for (int64_t y = 0; y < height; ++y) {
    const Footprint& footprint = rows[static_cast<size_t>(y)];
    std::fill(sums.begin(), sums.end(), 0.0f);
    const float* row = shrunk.data() + (footprint.first - first_row) * row_size;
    for (const float weight : footprint.weights) {
      for (int64_t i = 0; i < row_size; ++i) sums[static_cast<size_t>(i)] += weight * row[i];
      row += row_size;
    }
    std::transform(sums.begin(), sums.end(), pixels.begin() + y * row_size, to_byte);
  }
  return pixels;
}

}  // namespace elbo
