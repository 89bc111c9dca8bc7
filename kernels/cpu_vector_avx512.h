// Vectors for AVX-512: 16 floats, 32 registers. Included in the namespace of the vector unit,
// which defines kLanes.

using Vector = float __attribute__((vector_size(4 * kLanes)));

inline Vector multiply_add(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }

using Quad = float __attribute__((vector_size(16)));
using Half = float __attribute__((vector_size(32)));

inline Quad load_quad(const float* p) {
  Quad v;
  __builtin_memcpy(&v, p, sizeof(v));
  return v;
}

// Four floats of each of four rows: every fourth of the offsets.
inline Vector join_rows(const float* at, const int64_t* offsets) {
  const Quad a = load_quad(at + offsets[0]), b = load_quad(at + offsets[4]);
  const Quad c = load_quad(at + offsets[8]), d = load_quad(at + offsets[12]);
  const Half low = __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7);
  const Half high = __builtin_shufflevector(c, d, 0, 1, 2, 3, 4, 5, 6, 7);
  return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

// Shuffles within groups of four lanes. Not by intrinsics: GCC 12 warns of
// uninitialised variables inside them.
inline Vector interleave_low(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
}
inline Vector interleave_high(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
}
inline Vector low_pairs(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
}
inline Vector high_pairs(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
}
