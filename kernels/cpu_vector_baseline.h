// Vectors for any machine: 4 floats, SSE2 on x86-64 and NEON on aarch64. Included in the namespace
// of the vector unit, which defines kLanes.

using Vector = float __attribute__((vector_size(4 * kLanes)));

inline Vector multiply_add(Vector a, Vector b, Vector c) {
#ifdef __aarch64__
  return vfmaq_f32(c, a, b);
#else
  return a * b + c;
#endif
}

inline Vector join_rows(const float* at, const int64_t* offsets) {
  Vector v;
  __builtin_memcpy(&v, at + offsets[0], sizeof(v));
  return v;
}

// Shuffles within groups of four lanes.
inline Vector interleave_low(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 0, 4, 1, 5);
}
inline Vector interleave_high(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 2, 6, 3, 7);
}
inline Vector low_pairs(Vector a, Vector b) { return __builtin_shufflevector(a, b, 0, 1, 4, 5); }
inline Vector high_pairs(Vector a, Vector b) { return __builtin_shufflevector(a, b, 2, 3, 6, 7); }
