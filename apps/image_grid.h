// Many small pictures in one PNG.
//
// Layout    row-major, `columns` per row, `padding` pixels between and around; a last row may be short
// Scale     whole pixels, nearest neighbour: a generated picture is not to be smoothed by its viewer
// Output    the same bytes for the same pixels
// Errors    ErrorCode::failure if the sizes do not fit together, or are too large for a PNG
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/image_data.h"
#include "engine/io/file_ops.h"

namespace elbo {

struct Picture {
  int64_t width = 0, height = 0;
  int64_t channels = 1;         // 1 grey, 3 RGB
  std::vector<uint8_t> pixels;  // [height, width, channels]
};

struct GridStyle {
  int64_t columns = 8;
  int64_t padding = 2;
  int64_t scale = 0;        // 0: whatever makes a cell at least 64 pixels high or wide
  uint8_t background = 48;  // tells apart black pictures and their frame
};

// Grey or RGB.
bool can_be_shown(const ImageShape& shape);

// What GridStyle::scale 0 stands for.
int64_t grid_scale(const ImageShape& shape);

// Throws what image_grid() of `count` images would: worth asking before they are made.
void check_grid(int64_t count, const ImageShape& shape, const GridStyle& style);

// `images` [n, H, W, C], 0 black, 1 white; values outside are cut off.
Picture image_grid(const std::vector<float>& images, const ImageShape& shape,
                   const GridStyle& style = {});

// Sets of as many images each in turn: a row of each above a row of the next, `columns` in all.
Picture rows_grid(const std::vector<std::vector<float>>& sets, const ImageShape& shape,
                  GridStyle style);

// Two sets: originals and results.
Picture paired_grid(const std::vector<float>& originals, const std::vector<float>& results,
                    const ImageShape& shape, GridStyle style);

// Throws if a PNG cannot be so large.
void check_png_size(const Picture& picture);
std::string png_bytes(const Picture& picture);

// All or nothing.
void write_png(Fs& fs, const std::string& path, const Picture& picture);

}  // namespace elbo
