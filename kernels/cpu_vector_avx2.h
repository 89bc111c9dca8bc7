// Vectors for AVX2 with FMA: 8 floats, 16 registers. Included in the namespace of the vector unit,
// which defines kLanes.

using Vector = float __attribute__((vector_size(4 * kLanes)));

inline Vector multiply_add(Vector a, Vector b, Vector c) { return _mm256_fmadd_ps(a, b, c); }

using Quad = float __attribute__((vector_size(16)));

inline Quad load_quad(const float* p) {
  Quad v;
  __builtin_memcpy(&v, p, sizeof(v));
  return v;
}

// Four floats of each of two rows: every fourth of the offsets.
inline Vector join_rows(const float* at, const int64_t* offsets) {
  return __builtin_shufflevector(load_quad(at + offsets[0]), load_quad(at + offsets[4]), 0, 1, 2, 3,
                                 4, 5, 6, 7);
}

// Shuffles within groups of four lanes.
inline Vector interleave_low(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13);
}
inline Vector interleave_high(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15);
}
inline Vector low_pairs(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13);
}
inline Vector high_pairs(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
}
