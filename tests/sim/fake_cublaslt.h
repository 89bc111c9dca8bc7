// A stand-in for the part of cuBLASLt that a linear layer uses, linked in place of the library.
//
// It refuses what the real library refuses, so that code which works here has a chance to work there,
// and computes on the CPU in a fixed order, as work on the stream. Rules come from the comments in
// NVIDIA's cublasLt.h ("header" below) and the cuBLAS manual's chapter on cublasLtMatmul ("manual");
// where both are silent the stricter reading is taken and marked "strict".
//
// Reading guide: fake_cublaslt_objects.cpp makes descriptions and layouts, _rules.cpp judges a
// problem, _matmul.cpp answers the heuristic and checks operands, _product.cpp computes.
#pragma once

#include <cublasLt.h>

#include <cstdint>

#include "tests/sim/runtime.h"

namespace cudasim::lt {

struct Library {};

struct Operation {
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  cudaDataType_t scale_type = CUDA_R_32F;
  int32_t pointer_mode = CUBLASLT_POINTER_MODE_HOST;
  int32_t transpose_a = CUBLAS_OP_N;
  int32_t transpose_b = CUBLAS_OP_N;
  uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  void* bias = nullptr;    // or where the bias gradient goes
  int32_t bias_type = -1;  // -1: the type of D
  void* aux = nullptr;     // the ReLU mask
  int64_t aux_ld = 0;      // in bits
};

struct Matrix {
  cudaDataType_t type = CUDA_R_32F;
  uint64_t rows = 0, cols = 0;
  int64_t ld = 0;
  bool operator==(const Matrix&) const = default;
};

struct Preference {
  uint64_t workspace = 0;
  uint32_t reduction_mask = CUBLASLT_REDUCTION_SCHEME_MASK;
  uint32_t align_a = 256, align_b = 256, align_c = 256, align_d = 256;
};

// D = alpha op(A) op(B) + beta C, then the epilogue. op(A) is [m, k], op(B) [k, n].
struct Problem {
  Operation op;
  Matrix a, b, c, d;
  int64_t m() const { return static_cast<int64_t>(d.rows); }
  int64_t n() const { return static_cast<int64_t>(d.cols); }
  int64_t k() const {
    return static_cast<int64_t>(op.transpose_a == CUBLAS_OP_N ? a.cols : a.rows);
  }
};

// What an epilogue reads and writes.
bool uses_mask(uint32_t epilogue);
bool uses_bias(uint32_t epilogue);
bool is_bias_gradient(uint32_t epilogue);
int64_t bias_length(const Problem& problem);

size_t element_size(cudaDataType_t type);

// What we keep inside the header's opaque algorithm. A plan is good for the problem it was made for.
struct Algorithm {
  uint64_t fingerprint;
  uint64_t workspace;
  uint32_t align[4];        // of A, B, C, D as promised to the heuristic
  uint32_t epilogue_align;  // of the bias pointer it saw
  uint32_t parts;           // of the inner dimension, added up in a second step
};
static_assert(sizeof(Algorithm) <= sizeof(cublasLtMatmulAlgo_t));

// One product to do. The host scalars were read when it was submitted.
struct Work {
  Problem problem;
  Algorithm algorithm;
  const void *a, *b, *c, *alpha, *beta;
  void *d, *workspace;
  float host_alpha = 1, host_beta = 0;

  bool scalars_on_device() const { return problem.op.pointer_mode == CUBLASLT_POINTER_MODE_DEVICE; }
};

// Computes it, in a fixed order.
void compute(const Work& work);

float load(const void* data, cudaDataType_t type, int64_t index);

// Is the problem one the library can solve?
cublasStatus_t check_problem(const Problem& problem);

// Remembers why a call was refused, for cudasim::cublaslt_refusal(), and returns `status`.
cublasStatus_t refuse(cublasStatus_t status, const char* reason);

// A cuBLASLt call as a runtime call: counted, lockable, and failed by the same switches.
class LtCall {
 public:
  LtCall();
  bool failed() const { return call_.failed(); }
  cublasStatus_t error() const;

 private:
  ApiCall call_;
};

// The handle types of the header are opaque pointers.
inline Operation* operation(cublasLtMatmulDesc_t handle) {
  return reinterpret_cast<Operation*>(handle);
}
inline Matrix* matrix(cublasLtMatrixLayout_t handle) { return reinterpret_cast<Matrix*>(handle); }
inline Preference* preference(cublasLtMatmulPreference_t handle) {
  return reinterpret_cast<Preference*>(handle);
}

}  // namespace cudasim::lt
