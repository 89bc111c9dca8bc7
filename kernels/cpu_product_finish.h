// What follows a product of kernels/cpu_product.h, tile by tile.
// Part of kernels/cpu_product_body.h, and like it included in the namespace of a vector unit.

// A tile in a buffer whose rows are kStrip apart, and its place in C. Functions compute all kStrip
// columns, so that their loops are whole vectors, and store `strip.width` of them.
struct BufferedTile {
  float* buffer;
  RowRange rows;
  Strip strip;
  float* sums;  // of the strip's columns
  bool add;     // to C
};

using FinishFunction = void (*)(const CpuProduct&, const BufferedTile&);

inline void copy_columns(const float* from, float* to, int64_t width) {
  if (width == kStrip) {
    __builtin_memcpy(to, from, sizeof(float) * kStrip);
  } else {
    for (int64_t j = 0; j < width; ++j) to[j] = from[j];
  }
}

inline void store_tile(const CpuProduct& p, const BufferedTile& t) {
  for (int64_t r = 0; r < t.rows.rows; ++r) {
    copy_columns(t.buffer + r * kStrip, p.c + (t.rows.begin + r) * p.cols + t.strip.col,
                 t.strip.width);
  }
}

inline void load_tile(const CpuProduct& p, const BufferedTile& t) {
  for (int64_t r = 0; r < t.rows.rows; ++r) {
    copy_columns(p.c + (t.rows.begin + r) * p.cols + t.strip.col, t.buffer + r * kStrip,
                 t.strip.width);
  }
}

// Whole strips are read and written where they are, others by way of a row of a buffer.
template <Activation A>
void activate_tile(const CpuProduct& p, const BufferedTile& t) {
  const bool whole = t.strip.width == kStrip;
  const float* row = t.buffer;
  int64_t at = t.rows.begin * p.cols + t.strip.col;
  for (int64_t r = 0; r < t.rows.rows; ++r, row += kStrip, at += p.cols) {
    if (p.pre) copy_columns(row, p.pre + at, t.strip.width);
    float edge[kStrip];
    float* y = whole ? p.c + at : edge;
#pragma GCC ivdep
    for (int j = 0; j < kStrip; ++j) y[j] = activate<A>(row[j]);
    if (!whole) copy_columns(edge, p.c + at, t.strip.width);
  }
}

template <Activation A>
void undo_tile(const CpuProduct& p, const BufferedTile& t) {
  const bool whole = t.strip.width == kStrip;
  const float* row = t.buffer;
  int64_t at = t.rows.begin * p.cols + t.strip.col;
  float sums[kStrip], edge[kStrip], kept_edge[kStrip] = {};
  for (int j = 0; j < kStrip; ++j) sums[j] = t.sums[j];
  for (int64_t r = 0; r < t.rows.rows; ++r, row += kStrip, at += p.cols) {
    if (p.kept && !whole) copy_columns(p.kept + at, kept_edge, t.strip.width);
    const float* kept = p.kept && whole ? p.kept + at : kept_edge;
    float* dx = whole ? p.c + at : edge;
#pragma GCC ivdep
    for (int j = 0; j < kStrip; ++j) {
      const float value = activate_backward<A>(kept[j], row[j]);
      dx[j] = value;
      sums[j] += value;
    }
    if (!whole) copy_columns(edge, p.c + at, t.strip.width);
  }
  for (int j = 0; j < kStrip; ++j) t.sums[j] = sums[j];
}

// C by columns: element (r, c) at c * rows + r.
inline void store_tile_transposed(const CpuProduct& p, const BufferedTile& t) {
  constexpr int kColumn = kBufferRows;
  float columns[kStrip * kColumn];
  const RowOffsets offsets = row_offsets(kStrip, kLanes);
  for (int row = 0; row < kBufferRows; row += kLanes) {
    for (int col = 0; col < kStrip; col += 4) {
      transpose_columns(t.buffer + row * kStrip + col, offsets, columns + col * kColumn + row,
                        kColumn);
    }
  }
  const int64_t rows = t.rows.rows, c_row = p.rows, width = t.strip.width;
  float* c = p.c + t.strip.col * c_row + t.rows.begin;
  const float* column = columns;
  if (rows == kMaxRows && !t.add) {
    for (int64_t j = 0; j < width; ++j, c += c_row, column += kColumn) {
      __builtin_memcpy(c, column, sizeof(float) * kMaxRows);
    }
    return;
  }
  for (int64_t j = 0; j < width; ++j, c += c_row, column += kColumn) {
    for (int64_t r = 0; r < rows; ++r) c[r] = t.add ? c[r] + column[r] : column[r];
  }
}

struct SelectFinish {
  Finish finish;

  template <Activation A>
  FinishFunction operator()() const {
    if (finish == Finish::activate) return &activate_tile<A>;
    if (finish == Finish::undo) return &undo_tile<A>;
    return finish == Finish::store ? &store_tile : &store_tile_transposed;
  }
};
