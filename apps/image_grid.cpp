#include "apps/image_grid.h"

#include <algorithm>
#include <cmath>

namespace elbo {
namespace {

constexpr int64_t kSmallestCell = 64;  // pixels; below, people have to squint

uint8_t to_byte(float value) {
  // Written so that NaN becomes black.
  const float bounded = value > 0.0f ? std::min(value, 1.0f) : 0.0f;
  return static_cast<uint8_t>(std::lround(bounded * 255.0f));
}

// Draws image [H, W, C] at (left, top), enlarged.
void draw(Picture& picture, const float* image, const ImageShape& shape, int64_t left, int64_t top,
          int64_t scale) {
  for (int64_t y = 0; y < shape.height * scale; ++y) {
    for (int64_t x = 0; x < shape.width * scale; ++x) {
      const float* source = image + ((y / scale) * shape.width + x / scale) * shape.channels;
      const int64_t target = ((top + y) * picture.width + left + x) * picture.channels;
      for (int64_t c = 0; c < picture.channels; ++c)
        picture.pixels[static_cast<size_t>(target + c)] = to_byte(source[c]);
    }
  }
}

int64_t count_of(const std::vector<float>& images, const ImageShape& shape) {
  ELBO_CHECK(shape.size() > 0 && images.size() % static_cast<size_t>(shape.size()) == 0,
             "grid: ", images.size(), " values are not whole images of ", shape.size());
  return static_cast<int64_t>(images.size()) / shape.size();
}

struct GridLayout {
  int64_t columns = 0, scale = 0, cell_width = 0, cell_height = 0;
  Picture picture;  // without its pixels
};

GridLayout layout_of(int64_t count, const ImageShape& shape, const GridStyle& style) {
  ELBO_CHECK(count > 0, "grid: there is no image to show");
  ELBO_CHECK(can_be_shown(shape), "grid: images have ", shape.channels,
             " channels; expected 1 or 3");
  ELBO_CHECK(style.columns > 0 && style.padding >= 0 && style.scale >= 0,
             "grid: columns must be positive, padding and scale not negative");
  GridLayout layout;
  layout.columns = std::min(style.columns, count);
  layout.scale = style.scale > 0 ? style.scale : grid_scale(shape);
  layout.cell_width = shape.width * layout.scale;
  layout.cell_height = shape.height * layout.scale;
  const int64_t rows = (count + layout.columns - 1) / layout.columns;
  Picture& picture = layout.picture;
  picture.channels = shape.channels;
  picture.width = layout.columns * (layout.cell_width + style.padding) + style.padding;
  picture.height = rows * (layout.cell_height + style.padding) + style.padding;
  check_png_size(picture);
  return layout;
}

}  // namespace

bool can_be_shown(const ImageShape& shape) { return shape.channels == 1 || shape.channels == 3; }

int64_t grid_scale(const ImageShape& shape) {
  const int64_t side = std::max(shape.height, shape.width);
  return (kSmallestCell + side - 1) / side;
}

void check_grid(int64_t count, const ImageShape& shape, const GridStyle& style) {
  layout_of(count, shape, style);
}

Picture image_grid(const std::vector<float>& images, const ImageShape& shape,
                   const GridStyle& style) {
  const int64_t count = count_of(images, shape);
  GridLayout layout = layout_of(count, shape, style);
  Picture& picture = layout.picture;
  picture.pixels.assign(static_cast<size_t>(picture.width * picture.height * picture.channels),
                        style.background);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t column = i % layout.columns, row = i / layout.columns;
    const int64_t left = style.padding + column * (layout.cell_width + style.padding);
    const int64_t top = style.padding + row * (layout.cell_height + style.padding);
    draw(picture, images.data() + i * shape.size(), shape, left, top, layout.scale);
  }
  return std::move(layout.picture);
}

Picture rows_grid(const std::vector<std::vector<float>>& sets, const ImageShape& shape,
                  GridStyle style) {
  ELBO_CHECK(!sets.empty() && style.columns > 0, "grid: there is no image to show");
  for (const std::vector<float>& set : sets) {
    ELBO_CHECK(set.size() == sets[0].size(), "grid: ", sets[0].size(), " and ", set.size(),
               " values cannot stand in rows below each other");
  }
  const int64_t count = count_of(sets[0], shape);
  style.columns = std::min(style.columns, count);
  // A short last row is filled up, so that the row below it starts at the left.
  const int64_t missing =
      count > 0 ? (style.columns - count % style.columns) % style.columns : int64_t{0};
  const float background = static_cast<float>(style.background) / 255.0f;
  std::vector<float> rows;
  for (int64_t first = 0; first < count; first += style.columns) {
    const int64_t last = std::min(first + style.columns, count);
    for (const std::vector<float>& images : sets) {
      rows.insert(rows.end(), images.begin() + first * shape.size(),
                  images.begin() + last * shape.size());
      if (last == count)
        rows.insert(rows.end(), static_cast<size_t>(missing * shape.size()), background);
    }
  }
  return image_grid(rows, shape, style);
}

Picture paired_grid(const std::vector<float>& originals, const std::vector<float>& results,
                    const ImageShape& shape, GridStyle style) {
  return rows_grid({originals, results}, shape, style);
}

void write_png(Fs& fs, const std::string& path, const Picture& picture) {
  replace_file(fs, path, png_bytes(picture));
}

}  // namespace elbo
