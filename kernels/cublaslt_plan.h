// cuBLASLt products with their epilogues, planned once per shape. Private to kernels/linear_cuda.cpp.
#pragma once

#include <cublasLt.h>

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/exec.h"

namespace elbo::cublaslt {

// D[m,n] = op(A) op(B) (+ D), column-major and dense, then the epilogue.
struct PlanKey {
  int64_t m, n, k;
  bool a_transposed, b_transposed, add;
  cublasLtEpilogue_t epilogue;
  ProductPrecision precision = ProductPrecision::fp32;  // set by multiply()

  bool operator==(const PlanKey&) const = default;
};

struct Operands {
  const float* a;
  const float* b;
  float* d;
  const float* bias = nullptr;  // or the bias gradient, which the epilogue writes
  void* mask = nullptr;         // rows of relu_mask_row_bytes(m), one per column of D
};

// Launches the product. False, with nothing done, if the library will not carry the epilogue; the
// answer is then the same for every later call with this key.
bool multiply(const Exec& exec, PlanKey key, const Operands& operands);

// The same without the epilogue. Throws where there is no algorithm.
void multiply_plain(const Exec& exec, PlanKey key, const Operands& operands);

}  // namespace elbo::cublaslt
