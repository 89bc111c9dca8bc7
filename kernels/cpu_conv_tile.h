// The tiles of kernels/cpu_conv.h: the loops in which the time goes.
// Part of kernels/cpu_conv_body.h, and like it included in the namespace of a vector unit.

// sums[r] = start[r] + a[r] b over `segments` runs of `length` steps, for rows of packed weights b
// that are kConvStrip long.
struct ConvTileOperands {
  const float* a;
  int64_t a_row, a_segment;  // from one row, and one run, to the next
  const float* b;
  int64_t b_segment;
  int64_t segments, length;
  const float* start;
  int64_t start_row;  // 0: the same for every row
  float* sums;
  int64_t sums_row;
  const int64_t* rows;  // if set, row r goes to sums + rows[r] and not to sums + r sums_row,
  bool relu;            // after this
};

// As activate<Activation::relu>(): NaN stays NaN.
inline Vector relu(Vector v) {
  const Vector zero = {};
  return v > zero ? v : (v != v ? v : zero);
}

template <int Rows, int Width>
void conv_tile(const ConvTileOperands& t) {
  Vector sums[Rows][Width];
  for (int r = 0; r < Rows; ++r) {
    for (int v = 0; v < Width; ++v) sums[r][v] = load(t.start + r * t.start_row + v * kLanes);
  }
  // One loop over all runs: of two nested ones GCC keeps the columns on the stack.
  const int64_t a_row = t.a_row, length = t.length;
  const int64_t a_jump = t.a_segment - length, b_jump = t.b_segment - length * kConvStrip;
  const float *a = t.a, *b = t.b;
  int64_t left = length;
  for (int64_t k = t.segments * length; k > 0; --k) {
    Vector column[Width];
    for (int v = 0; v < Width; ++v) column[v] = load(b + v * kLanes);
#pragma GCC unroll 12
    for (int r = 0; r < Rows; ++r) {
      const Vector factor = a[r * a_row] - Vector{};  // a broadcast; GCC drops the subtraction
      for (int v = 0; v < Width; ++v) sums[r][v] = multiply_add(factor, column[v], sums[r][v]);
    }
    ++a;
    b += kConvStrip;
    if (--left > 0) continue;
    a += a_jump;
    b += b_jump;
    left = length;
  }
  if (t.relu) {
    for (int r = 0; r < Rows; ++r) {
      for (int v = 0; v < Width; ++v) sums[r][v] = relu(sums[r][v]);
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < Rows; ++r) {
    float* to = t.sums + (t.rows ? t.rows[r] : r * t.sums_row);
    for (int v = 0; v < Width; ++v) store(to + v * kLanes, sums[r][v]);
  }
}

using ConvTileFunction = void (*)(const ConvTileOperands&);
using ConvTileRows = std::make_integer_sequence<int, kConvTileRows>;

template <int Width, int... Rows>
ConvTileFunction select_conv_tile(int64_t rows, std::integer_sequence<int, Rows...>) {
  static constexpr ConvTileFunction kTiles[] = {&conv_tile<Rows + 1, Width>...};
  return kTiles[rows - 1];
}

inline void multiply_conv_tile(const ConvTileOperands& operands, int64_t rows, int64_t width) {
  const ConvTileFunction tile = width > kLanes ? select_conv_tile<2>(rows, ConvTileRows{})
                                               : select_conv_tile<1>(rows, ConvTileRows{});
  tile(operands);
}

// sums[r] (+)= sum over i of a[a_at[i] + r] * b[b_at[i]]: pixel pairs of a gradient of the weight.
struct ConvPairOperands {
  const float* a;
  const float* b;
  const int64_t *a_at, *b_at;
  int64_t count;
  float* sums;
  int64_t sums_row;
  bool add;
};

template <int Rows, int Width>
void conv_pair_tile(const ConvPairOperands& t) {
  Vector sums[Rows][Width] = {};
  for (int64_t i = 0; i < t.count; ++i) {
    const float* b = t.b + t.b_at[i];
    Vector column[Width];
    for (int v = 0; v < Width; ++v) column[v] = load(b + v * kLanes);
    const float* a = t.a + t.a_at[i];
#pragma GCC unroll 12
    for (int r = 0; r < Rows; ++r) {
      const Vector factor = a[r] - Vector{};
      for (int v = 0; v < Width; ++v) sums[r][v] = multiply_add(factor, column[v], sums[r][v]);
    }
  }
  float* to = t.sums;
#pragma GCC unroll 12
  for (int r = 0; r < Rows; ++r, to += t.sums_row) {
    for (int v = 0; v < Width; ++v) {
      float* at = to + v * kLanes;
      store(at, t.add ? load(at) + sums[r][v] : sums[r][v]);
    }
  }
}

using ConvPairFunction = void (*)(const ConvPairOperands&);

// Where rows are few, tiles are wide.
constexpr int kConvWideTileRows = kLanes == 16 ? 6 : 3;
constexpr int kConvWideTile = kLanes == 16 ? 4 : 2;  // vectors

template <int Width, int... Rows>
ConvPairFunction select_conv_pair_tile(int64_t rows, std::integer_sequence<int, Rows...>) {
  static constexpr ConvPairFunction kTiles[] = {&conv_pair_tile<Rows + 1, Width>...};
  return kTiles[rows - 1];
}

inline ConvPairFunction select_conv_pair_tile(int64_t rows, int64_t vectors) {
  if (vectors == kConvWideTile && rows <= kConvWideTileRows) {
    constexpr std::make_integer_sequence<int, kConvWideTileRows> kRows{};
    return select_conv_pair_tile<kConvWideTile>(rows, kRows);
  }
  return vectors == 2 ? select_conv_pair_tile<2>(rows, ConvTileRows{})
                      : select_conv_pair_tile<1>(rows, ConvTileRows{});
}
