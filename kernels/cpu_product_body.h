// The loops of kernels/cpu_product.h, compiled once per vector unit: cpu_product_{baseline,avx2,
// avx512}.cpp include this file inside a namespace that defines kLanes, Vector, multiply_add(),
// join_rows() and transpose_lanes(), with the compiler's target set. It includes nothing itself: the
// linker could keep the copy of a library's inline function that needs the widest unit.
//
// Start at multiply_part(). No lambdas: GCC does not compile them for the target of the file.

constexpr int kVectors = 2;
constexpr int kStrip = kVectors * kLanes;
// As many as keep the sums of a tile, a row of B and a broadcast in registers: of 32, or of 16.
constexpr int kMaxRows = kLanes == 16 ? 12 : 6;
constexpr int kBufferRows =
    (kMaxRows + kLanes - 1) / kLanes * kLanes;  // whole vectors when transposed
// Inner steps per block: in most models the whole depth. The packed block of a strip is 128 KiB at
// most, and stays in L2.
constexpr int64_t kDepth = 1024;
// Tiles whose steps are listed at a time.
constexpr int64_t kListedTiles = 16;
// Rows that lie a multiple of 4 KiB apart share one set of an L1 cache, which has 8 ways: a tile of
// more rows would fetch every line from L2 16 times.
constexpr int64_t kSetStride = 1024;  // floats
constexpr int64_t kRowsOfOneSet = 6;

inline Vector load(const float* p) {
  Vector v;
  __builtin_memcpy(&v, p, sizeof(v));
  return v;
}

inline void store(float* p, Vector v) { __builtin_memcpy(p, &v, sizeof(v)); }

// ---- the tile -------------------------------------------------------------------------------------

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

// ---- packing --------------------------------------------------------------------------------------

// Transposes 4 x 4 floats within each group of four lanes.
inline void transpose_lanes(Vector (&rows)[4]) {
  const Vector low01 = interleave_low(rows[0], rows[1]);
  const Vector high01 = interleave_high(rows[0], rows[1]);
  const Vector low23 = interleave_low(rows[2], rows[3]);
  const Vector high23 = interleave_high(rows[2], rows[3]);
  rows[0] = low_pairs(low01, low23);
  rows[1] = high_pairs(low01, low23);
  rows[2] = low_pairs(high01, high23);
  rows[3] = high_pairs(high01, high23);
}

// Where each of kLanes rows begins.
struct RowOffsets {
  int64_t at[kLanes];
};

// Past the last of `rows` rows stands the last one again.
inline RowOffsets row_offsets(int64_t stride, int64_t rows) {
  RowOffsets offsets;
  for (int64_t i = 0; i < kLanes; ++i) offsets.at[i] = (i < rows ? i : rows - 1) * stride;
  return offsets;
}

// Four columns of kLanes rows become four rows. Four columns of each row are gathered so that what
// remains is to transpose within groups of four lanes.
inline void transpose_columns(const float* from, const RowOffsets& offsets, float* to,
                              int64_t to_row) {
  Vector rows[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) rows[i] = join_rows(from, offsets.at + i);
  transpose_lanes(rows);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) store(to + i * to_row, rows[i]);
}

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

// ---- which steps ----------------------------------------------------------------------------------

// Bits of a float without its sign: zero for both zeros.
inline uint32_t magnitude(float value) { return __builtin_bit_cast(uint32_t, value) << 1; }

struct RowRange {
  int64_t begin, rows;
};

// Rows [begin, end) of C in tiles of `step` rows.
struct RowTiles {
  int64_t begin, end, step;

  int64_t count() const { return (end - begin + step - 1) / step; }
  RowRange operator[](int64_t i) const {
    const int64_t first = begin + i * step;
    return {first, first + step < end ? step : end - first};
  }
};

struct StepLists {
  uint16_t steps[kListedTiles][kDepth];
  int64_t counts[kListedTiles];
};

// Not zero where one of `count` neighbours is not.
inline uint64_t any_magnitude(const float* p, int64_t count) {
  using Pair = uint64_t __attribute__((vector_size(16)));
  Pair pairs = {};
  int64_t i = 0;
  for (; i + 4 <= count; i += 4) {
    Pair next;
    __builtin_memcpy(&next, p + i, sizeof(next));
    pairs |= next;
  }
  constexpr uint64_t kNoSigns = 0x7fffffff7fffffffu;
  uint64_t bits = (pairs[0] | pairs[1]) & kNoSigns;
  for (; i < count; ++i) bits |= magnitude(p[i]);
  return bits;
}

// Lists for each tile the steps at which not all of its rows are zero.
inline void list_steps_by_rows(const CpuProduct& p, const RowTiles& tiles, const Block& block,
                               StepLists& lists) {
  for (int64_t i = 0; i < tiles.count(); ++i) {
    const RowRange tile = tiles[i];
    const float* a = p.a + tile.begin * p.a_row + block.k0;
    uint32_t any[kDepth] = {};
    for (int64_t r = 0; r < tile.rows; ++r) {
      for (int64_t k = 0; k < block.depth; ++k) any[k] |= magnitude(a[r * p.a_row + k]);
    }
    int64_t count = 0;
    for (int64_t k = 0; k < block.depth; ++k) {
      lists.steps[i][count] = static_cast<uint16_t>(k);
      count += any[k] != 0;
    }
    lists.counts[i] = count;
  }
}

// The same where rows of a tile are neighbours (a_row == 1): all tiles at once, in order of memory.
inline void list_steps_by_columns(const CpuProduct& p, const RowTiles& tiles, const Block& block,
                                  StepLists& lists) {
  const int64_t count = tiles.count(), step = tiles.step;
  for (int64_t i = 0; i < count; ++i) lists.counts[i] = 0;
  for (int64_t k = 0; k < block.depth; ++k) {
    const float* a = p.a + tiles.begin + (block.k0 + k) * p.a_col;
    for (int64_t i = 0; i < count; ++i, a += step) {
      const uint64_t any = step == kMaxRows && i + 1 < count ? any_magnitude(a, kMaxRows)
                                                             : any_magnitude(a, tiles[i].rows);
      lists.steps[i][lists.counts[i]] = static_cast<uint16_t>(k);
      lists.counts[i] += any != 0;
    }
  }
}

inline void list_steps(const CpuProduct& p, const RowTiles& tiles, const Block& block,
                       StepLists& lists) {
  if (p.a_row == 1) {
    list_steps_by_columns(p, tiles, block, lists);
  } else {
    list_steps_by_rows(p, tiles, block, lists);
  }
}

// ---- what follows the product ---------------------------------------------------------------------

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

// ---- one thread's part ----------------------------------------------------------------------------

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
                                space.lists.steps[p.a_zeros ? i : 0],
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
    space.lists.steps[0][k] =
        static_cast<uint16_t>(k);  // all, for all tiles, unless zeros are listed
  }
  const int64_t step = tile_step(p, part.row_end - part.row_begin);
  const int64_t group = kListedTiles * step;
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
