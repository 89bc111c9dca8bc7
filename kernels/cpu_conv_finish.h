// What follows the sums of kernels/cpu_conv.h, tile by tile.
// Part of kernels/cpu_conv_body.h, and like it included in the namespace of a vector unit.

// Rows of a tile and where they go: `width` columns from `col` of each pixel. Functions compute
// whole strips, so that their loops are whole vectors, and store `width` columns.
struct ConvTile {
  const float* sums;
  int64_t sums_row;
  int64_t rows;
  const int64_t* out;  // offsets of the rows' pixels
  int64_t col, width;
  float* column_sums;  // may be null
};

using ConvFinishFunction = void (*)(const ConvSums&, const ConvTile&);

template <Activation A>
void activate_conv_tile(const ConvSums& conv, const ConvTile& t) {
  const bool whole = t.width == kConvStrip;
  for (int64_t r = 0; r < t.rows; ++r) {
    const float* row = t.sums + r * t.sums_row;
    const int64_t at = t.out[r] + t.col;
    float edge[kConvStrip];
    float* y = whole ? conv.out + at : edge;
    if (conv.finish.pre) copy_floats(row, conv.finish.pre + at, t.width);
#pragma GCC ivdep
    for (int j = 0; j < kConvStrip; ++j) y[j] = activate<A>(row[j]);
    if (!whole) copy_floats(edge, conv.out + at, t.width);
  }
}

inline void add_conv_tile(const ConvSums& conv, const ConvTile& t) {
  for (int64_t r = 0; r < t.rows; ++r) {
    const float* row = t.sums + r * t.sums_row;
    float* out = conv.out + t.out[r] + t.col;
#pragma GCC ivdep
    for (int64_t j = 0; j < t.width; ++j) out[j] += row[j];
  }
}

// What rounding loses is kept kConvCols behind each sum and added next time (Kahan 1965): a chain of as
// many tiles as a batch has would be off by 1e-3.
inline void add_column_sums(const float* values, int64_t count, float* sums) {
  float* lost = sums + kConvCols;
  for (int64_t j = 0; j < count; ++j) {
    const float value = values[j] - lost[j], sum = sums[j] + value;
    lost[j] = (sum - sums[j]) - value;
    sums[j] = sum;
  }
}

template <Activation A>
void undo_conv_tile(const ConvSums& conv, const ConvTile& t) {
  const bool whole = t.width == kConvStrip;
  float sums[kConvStrip] = {}, edge[kConvStrip] = {}, kept_edge[kConvStrip] = {};
  for (int64_t r = 0; r < t.rows; ++r) {
    const float* row = t.sums + r * t.sums_row;
    const int64_t at = t.out[r] + t.col;
    if (conv.finish.kept && !whole) copy_floats(conv.finish.kept + at, kept_edge, t.width);
    const float* kept = conv.finish.kept && whole ? conv.finish.kept + at : kept_edge;
    float* dx = whole ? conv.out + at : edge;
#pragma GCC ivdep
    for (int j = 0; j < kConvStrip; ++j) {
      const float value = activate_backward<A>(kept[j], row[j]);
      dx[j] = value;
      sums[j] += value;
    }
    if (!whole) copy_floats(edge, conv.out + at, t.width);
  }
  if (t.column_sums) add_column_sums(sums, t.width, t.column_sums);
}

struct SelectConvFinish {
  bool undo;

  template <Activation A>
  ConvFinishFunction operator()() const {
    return undo ? &undo_conv_tile<A> : &activate_conv_tile<A>;
  }
};

inline ConvFinishFunction conv_finish_function(const ConvFinish& finish) {
  if (finish.add) return &add_conv_tile;
  return dispatch_activation(finish.activation, SelectConvFinish{finish.undo});
}
