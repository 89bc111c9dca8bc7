// Packing a strip of B for kernels/cpu_product.h.
// Part of kernels/cpu_product_body.h, and like it included in the namespace of a vector unit.

struct Strip {
  int64_t col;    // first column of C
  int64_t width;  // columns, at most kStrip
  int vectors;    // that hold them
};

// A part of the inner dimension.
struct Block {
  int64_t k0, depth;
  bool first, last;
};

// One row of the panel, columns past the edge as zeros.
inline void pack_row(const CpuProduct& p, const Strip& strip, int64_t k, float* to) {
  const float* from = p.b + k * p.b_row + strip.col * p.b_col;
  for (int64_t j = 0; j < strip.width; ++j) to[j] = from[j * p.b_col];
  for (int64_t j = strip.width; j < strip.vectors * kLanes; ++j) to[j] = 0;
}

inline void pack_rows(const CpuProduct& p, const Strip& strip, const Block& block, float* panel) {
  const int64_t panel_row = strip.vectors * kLanes;
  const float* from = p.b + block.k0 * p.b_row + strip.col;
  for (int64_t k = 0; k < block.depth; ++k, from += p.b_row, panel += panel_row) {
    if (strip.width < panel_row) {
      pack_row(p, strip, block.k0 + k, panel);
    } else {
      for (int v = 0; v < strip.vectors; ++v) store(panel + v * kLanes, load(from + v * kLanes));
    }
  }
}

// B given by columns (b_row == 1). Vectors past the edge repeat its last column.
inline void pack_columns(const CpuProduct& p, const Strip& strip, const Block& block,
                         float* panel) {
  const int64_t panel_row = strip.vectors * kLanes;
  for (int64_t j = 0; j < panel_row; j += kLanes) {
    const RowOffsets offsets = row_offsets(p.b_col, strip.width - j);
    const float* from = p.b + block.k0 + (strip.col + j) * p.b_col;
    float* to = panel + j;
    int64_t k = 0;
    for (; k + 4 <= block.depth; k += 4) {
      transpose_columns(from + k, offsets, to + k * panel_row, panel_row);
    }
    for (; k < block.depth; ++k) {
      for (int64_t c = 0; c < kLanes; ++c) to[k * panel_row + c] = from[k + offsets.at[c]];
    }
  }
}

// What steps that are left out would have added: 0 for a column of finite numbers, else NaN.
inline void add_zero_products(const Strip& strip, const Block& block, const float* panel,
                              float* start) {
  const Vector zero = {};
  for (int v = 0; v < strip.vectors; ++v) {
    const float* b = panel + v * kLanes;
    Vector sums[4] = {};  // four, to hide the latency of an add
    int64_t k = 0;
    for (; k + 4 <= block.depth; k += 4) {
      for (int i = 0; i < 4; ++i, b += strip.vectors * kLanes) {
        sums[i] = multiply_add(zero, load(b), sums[i]);
      }
    }
    for (; k < block.depth; ++k, b += strip.vectors * kLanes) {
      sums[0] = multiply_add(zero, load(b), sums[0]);
    }
    const Vector all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    store(start + v * kLanes, load(start + v * kLanes) + all);
  }
}
