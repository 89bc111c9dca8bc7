// fp32 matrix products on the CPU, in code of our own, for the sizes of small dense layers.
//
//   C = A B, or C += A B, or C = act(A B + bias), or C = (A B) * act'(...) with its column sums
//
// Element (r, c) of A stands at a[r*a_row + c*a_col], of B likewise; one stride of each is 1. C is
// dense and row-major.
//
// Method    A strip of B (two vectors wide, at most kDepth deep) lies in the L1 or L2 cache, packed
//           if need be, and tiles of up to 12 rows of C run over it in registers: one broadcast
//           element of A times two vectors of B per step. What follows the product (activation,
//           its derivative, column sums) happens while the tile is in the L1 cache. One parallel
//           region per product; threads own rows or columns of C.
// Zeros     Where the caller expects zeros in A, steps at which all rows of a tile are zero are
//           left out: half of all steps for the pixels of MNIST. This changes no bit, as adding
//           0 * b leaves a sum as it is. A non-finite element of B still makes its column of C
//           non-finite.
// Numerics  every element of C is one sum in order of the inner index, of fused multiply-adds where
//           the machine has them, cut at multiples of kDepth. The bits depend neither on the thread
//           count nor on the width of vectors, only on whether there is FMA.
// Scratch   170 KiB of stack per thread
#pragma once

#include <cstdint>

#include "kernels/activation.h"
#include "kernels/exec.h"

namespace elbo::cpu {

enum class VectorUnit : int { baseline, avx2, avx512 };  // baseline: SSE2, NEON, whatever there is

const char* vector_unit_name(VectorUnit unit);
bool vector_unit_available(VectorUnit unit);
// The widest available one, unless ELBO_VECTOR_UNIT (baseline, avx2, avx512) asks for less.
VectorUnit default_vector_unit();

enum class Finish : int {
  store,             // C = tile, or C += tile
  store_transposed,  // the same, element (r, c) at c * rows + r
  activate,          // C = act(bias + tile), the sum before act kept in `pre` if that is set
  undo               // C = tile * act', and its column sums
};

struct CpuProduct {
  int64_t rows, cols, inner;
  const float* a;
  int64_t a_row, a_col;
  const float* b;
  int64_t b_row, b_col;
  float* c;
  bool add = false;      // Finish::store and store_transposed
  bool a_zeros = false;  // look for steps at which a tile of A is zero

  Finish finish = Finish::store;
  Activation activation = Activation::identity;
  const float* bias = nullptr;  // activate: [cols]
  float* pre = nullptr;         // activate: like C
  const float* kept = nullptr;  // undo: what activate_backward() reads, like C; null for identity
  float* sums = nullptr;        // undo: [cols], column sums of C
  bool add_sums = false;
};

// Sizes are positive. Any alignment.
void multiply(const CpuProduct& product, VectorUnit unit = default_vector_unit());

// The share of inner steps at which a tile of A is zero, from a sample of tiles and steps.
double share_of_zero_steps(const CpuProduct& product);

// The part of C that one thread computes.
struct CpuProductPart {
  int64_t row_begin, row_end, col_begin, col_end;
};

namespace baseline {
inline constexpr int kLanes = 4;
void multiply_part(const CpuProduct& product, const CpuProductPart& part);
}  // namespace baseline
#ifdef __x86_64__
namespace avx2 {
inline constexpr int kLanes = 8;
void multiply_part(const CpuProduct& product, const CpuProductPart& part);
}  // namespace avx2
namespace avx512 {
inline constexpr int kLanes = 16;
void multiply_part(const CpuProduct& product, const CpuProductPart& part);
}  // namespace avx512
#endif

}  // namespace elbo::cpu
