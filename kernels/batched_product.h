// Many small matrix products at once, operands read by strides.
//
//   c[n,r,s] = alpha sum_k a[n,r,k] b[n,k,s]      element (r,k) of a at a[n*a_batch + r*a_row + k*a_col]
//
// Shapes    c [batch, rows, cols] dense row-major; a and b any layout with strides, so transposed too
// Gradient  products of the same kind; GradMode::add adds to c
// Work      one launch. CUDA: tiles of 64 x 64 through shared memory, without tensor cores; for layers
//           whose products weigh little beside the convolutions around them. CPU: tiles of 4 x 32 in
//           registers over packed panels.
// Numerics  fp32 products and sums (double for double), over k in order; c is rounded once
// Errors    elbo::Error for a null operand or more than 65535 matrices on CUDA. Empty c is a no-op; inner
//           == 0 makes c zero, or leaves it when adding.
#pragma once

#include <cstdint>

#include "kernels/exec.h"
#include "kernels/storage.h"

namespace elbo {

template <class TA, class TB, class TC>
struct BatchedProduct {
  int64_t batch, rows, cols, inner;
  const TA* a;
  int64_t a_batch, a_row, a_col;
  const TB* b;
  int64_t b_batch, b_row, b_col;
  TC* c;
  Compute<TC> alpha = 1;
  GradMode mode = GradMode::write;
};

// All of one type; or bf16 with fp32, as attention has them: bf16 x bf16 -> float and
// float x bf16 -> bf16. double is for the CPU.
template <class TA, class TB, class TC>
void batched_product(const Exec& exec, const BatchedProduct<TA, TB, TC>& args);

}  // namespace elbo
