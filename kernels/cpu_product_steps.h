// Which steps of kernels/cpu_product.h are not left out.
// Part of kernels/cpu_product_body.h, and like it included in the namespace of a vector unit.

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

// For each tile of a group the steps of a block to be done.
struct StepLists {
  uint16_t steps[kListedSteps];
  int64_t counts[kListedTiles];
  int64_t stride;  // between lists

  uint16_t* list(int64_t tile) { return steps + tile * stride; }
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
    uint16_t* steps = lists.list(i);
    int64_t count = 0;
    for (int64_t k = 0; k < block.depth; ++k) {
      steps[count] = static_cast<uint16_t>(k);
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
      lists.list(i)[lists.counts[i]] = static_cast<uint16_t>(k);
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
