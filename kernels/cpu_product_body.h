// The loops of kernels/cpu_product.h: what one thread does. Compiled once per vector unit: the files
// cpu_product_{baseline,avx2,avx512}.cpp include this one inside a namespace that defines kLanes,
// Vector, multiply_add(), join_rows() and the shuffles of transpose_lanes(), with the compiler's
// target set. It includes no library: the linker keeps one copy of an inline function, which could
// be the one that needs the widest unit.
//
// Start at multiply_part(). No lambdas: GCC does not compile them for the target of the file.

constexpr int kVectors = 2;
constexpr int kStrip = kVectors * kLanes;
// As many as keep the sums of a tile, a row of B and a broadcast in registers: of 32, or of 16.
constexpr int kMaxRows = kLanes == 16 ? 12 : 6;
// Whole vectors of rows, for tiles that are stored transposed.
constexpr int kBufferRows = (kMaxRows + kLanes - 1) / kLanes * kLanes;
// Inner steps per block: in most models the whole depth. The packed block of a strip is 128 KiB at
// most, and stays in L2.
constexpr int64_t kDepth = 1024;
// Tiles, and steps of all of them together, that are listed at a time.
constexpr int64_t kListedTiles = 128;
constexpr int64_t kListedSteps = 16 * kDepth;
// Rows that lie a multiple of 4 KiB apart share one set of an L1 cache, which has 8 ways: a tile of
// more rows would fetch every line from L2 16 times.
constexpr int64_t kSetStride = 1024;  // floats
constexpr int64_t kRowsOfOneSet = 6;

// These build on each other, in this order:
// clang-format off
#include "kernels/cpu_transpose.h"
#include "kernels/cpu_product_tile.h"
#include "kernels/cpu_product_pack.h"
#include "kernels/cpu_product_steps.h"
#include "kernels/cpu_product_finish.h"
// clang-format on

struct Workspace {
  alignas(64) float panel[kDepth * kStrip];
  alignas(64) float tile[kBufferRows * kStrip];
  alignas(64) float start[kStrip];
  alignas(64) float sums[kStrip];
  StepLists lists;
  FinishFunction finish;
};

// As even as possible, so that no tile is left with a few rows.
inline int64_t tile_step(const CpuProduct& p, int64_t rows) {
  const bool one_set = p.a_col == 1 && p.a_row % kSetStride == 0;
  const int64_t most = one_set && kRowsOfOneSet < kMaxRows ? kRowsOfOneSet : kMaxRows;
  const int64_t tiles = (rows + most - 1) / most;
  return (rows + tiles - 1) / tiles;
}

// All tiles of one strip over one block. A block that is not the last leaves its sums in C, for the
// next to add to. Whole vectors that nothing follows go to C directly, all else by way of a buffer.
inline void multiply_block(const CpuProduct& p, const RowTiles& tiles, const Strip& strip,
                           const Block& block, const float* b, int64_t b_row, Workspace& space) {
  const bool transposed = p.finish == Finish::store_transposed;
  const bool plain = p.finish == Finish::store || (p.finish == Finish::activate && !p.pre &&
                                                   p.activation == Activation::identity);
  const bool direct =
      strip.width == strip.vectors * kLanes && !transposed && (!block.last || plain);
  const bool add = !block.first || p.add;
  const FinishFunction finish = block.last || transposed ? space.finish : &store_tile;
  for (int64_t i = 0; i < tiles.count(); ++i) {
    const RowRange rows = tiles[i];
    const BufferedTile tile{space.tile, rows, strip, space.sums, add};
    if (add && !direct && !transposed) load_tile(p, tile);
    const TileOperands operands{p.a + rows.begin * p.a_row + block.k0 * p.a_col,
                                p.a_row,
                                p.a_col,
                                b,
                                b_row,
                                space.lists.list(p.a_zeros ? i : 0),
                                p.a_zeros ? space.lists.counts[i] : block.depth,
                                space.start,
                                direct ? p.c + rows.begin * p.cols + strip.col : space.tile,
                                direct ? p.cols : kStrip,
                                add && !transposed};
    const TileFunction multiply = strip.vectors == 2 ? select_tile<2>(rows.rows, TileRows{})
                                                     : select_tile<1>(rows.rows, TileRows{});
    multiply(operands);
    if (!direct) finish(p, tile);
  }
}

inline void prepare_columns(const CpuProduct& p, const Strip& strip, const Block& block,
                            Workspace& space) {
  for (int j = 0; j < kStrip; ++j) {
    const bool biased = p.bias && block.first && j < strip.width;
    space.start[j] = biased ? p.bias[strip.col + j] : 0.0f;
    space.sums[j] = 0;
  }
}

inline void multiply_strip(const CpuProduct& p, const RowTiles& tiles, const Strip& strip,
                           const Block& block, Workspace& space) {
  if (p.bias || p.sums || p.a_zeros) prepare_columns(p, strip, block, space);
  const int64_t panel_row = strip.vectors * kLanes;
  if (p.b_col == 1 && strip.width == panel_row && !p.a_zeros) {
    const float* b = p.b + block.k0 * p.b_row + strip.col;
    multiply_block(p, tiles, strip, block, b, p.b_row, space);
  } else {
    p.b_col == 1 ? pack_rows(p, strip, block, space.panel)
                 : pack_columns(p, strip, block, space.panel);
    if (p.a_zeros) add_zero_products(strip, block, space.panel, space.start);
    multiply_block(p, tiles, strip, block, space.panel, panel_row, space);
  }
  if (!p.sums || !block.last) return;
  for (int64_t j = 0; j < strip.width; ++j) {
    float& sum = p.sums[strip.col + j];
    sum = p.add_sums || tiles.begin > 0 ? sum + space.sums[j] : space.sums[j];
  }
}

void multiply_part(const CpuProduct& p, const CpuProductPart& part) {
  Workspace space;
  space.finish = dispatch_activation(p.activation, SelectFinish{p.finish});
  for (float& value : space.tile) value = 0;  // lanes past an edge are read, never used
  prepare_columns(p, {}, {}, space);
  for (int64_t k = 0; k < kDepth && k < p.inner; ++k) {
    space.lists.steps[k] = static_cast<uint16_t>(k);  // all, for all tiles, unless zeros are listed
  }
  const int64_t step = tile_step(p, part.row_end - part.row_begin);
  space.lists.stride = p.inner < kDepth ? p.inner : kDepth;
  const int64_t listed = kListedSteps / space.lists.stride;
  const int64_t group = (listed < kListedTiles ? listed : kListedTiles) * step;
  for (int64_t row = part.row_begin; row < part.row_end; row += group) {
    const int64_t limit = row + group;
    const RowTiles tiles{row, limit < part.row_end ? limit : part.row_end, step};
    for (int64_t k0 = 0; k0 < p.inner; k0 += kDepth) {
      const int64_t depth = p.inner - k0 < kDepth ? p.inner - k0 : kDepth;
      const Block block{k0, depth, k0 == 0, k0 + depth == p.inner};
      if (p.a_zeros) list_steps(p, tiles, block, space.lists);
      for (int64_t col = part.col_begin; col < part.col_end; col += kStrip) {
        const int64_t left = part.col_end - col;
        const Strip strip{col, left < kStrip ? left : kStrip, left > kLanes ? 2 : 1};
        multiply_strip(p, tiles, strip, block, space);
      }
    }
  }
}
