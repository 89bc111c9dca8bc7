// The tile of kernels/cpu_product.h: the loop in which the time goes.
// Part of kernels/cpu_product_body.h, and like it included in the namespace of a vector unit.

struct TileOperands {
  const float* a;
  int64_t a_row, a_col;
  const float* b;  // row k of the block at b + k * b_row
  int64_t b_row;
  const uint16_t* steps;  // which k
  int64_t count;
  const float* start;  // what the sums of every row start from
  float* c;
  int64_t c_row;
  bool add;
};

template <int Rows, int Width>
void multiply_tile(const TileOperands& t) {
  Vector sums[Rows][Width];
  for (int v = 0; v < Width; ++v) {
    const Vector start = load(t.start + v * kLanes);
    for (int r = 0; r < Rows; ++r) sums[r][v] = start;
  }
  const int64_t a_row = t.a_row;
  for (int64_t j = 0; j < t.count; ++j) {
    const int64_t k = t.steps[j];
    const float* b = t.b + k * t.b_row;
    Vector column[Width];
    for (int v = 0; v < Width; ++v) column[v] = load(b + v * kLanes);
    const float* a = t.a + k * t.a_col;
#pragma GCC unroll 12
    for (int r = 0; r < Rows; ++r) {
      const Vector factor = a[r * a_row] - Vector{};  // a broadcast; GCC drops the subtraction
      for (int v = 0; v < Width; ++v) sums[r][v] = multiply_add(factor, column[v], sums[r][v]);
    }
  }
  const bool add = t.add;
  float* row = t.c;
#pragma GCC unroll 12
  for (int r = 0; r < Rows; ++r, row += t.c_row) {
    for (int v = 0; v < Width; ++v) {
      float* c = row + v * kLanes;
      store(c, add ? load(c) + sums[r][v] : sums[r][v]);
    }
  }
}

using TileFunction = void (*)(const TileOperands&);
using TileRows = std::make_integer_sequence<int, kMaxRows>;

template <int Width, int... Rows>
TileFunction select_tile(int64_t rows, std::integer_sequence<int, Rows...>) {
  static constexpr TileFunction kTiles[] = {&multiply_tile<Rows + 1, Width>...};
  return kTiles[rows - 1];
}
