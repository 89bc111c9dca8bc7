// Loads, stores and transposes of vectors, over what cpu_vector_{baseline,avx2,avx512}.h define.
// Included after one of them in the namespace of a vector unit.

inline Vector load(const float* p) {
  Vector v;
  __builtin_memcpy(&v, p, sizeof(v));
  return v;
}

inline void store(float* p, Vector v) { __builtin_memcpy(p, &v, sizeof(v)); }

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
