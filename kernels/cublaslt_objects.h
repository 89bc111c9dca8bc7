// cuBLASLt's objects as owners, and its status as an exception. For *_cuda.cpp files and benchmarks.
#pragma once

#include <cublasLt.h>

#include <memory>

#include "kernels/error.h"

namespace elbo::cublaslt {

inline void check(cublasStatus_t status, const char* call) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw_error(ErrorCode::device, "cuBLASLt: ", call, " failed: ", cublasLtGetStatusString(status));
}

template <auto Destroy>
struct Deleter {
  template <class T>
  void operator()(T* object) const {
    Destroy(object);
  }
};

using Description = std::unique_ptr<cublasLtMatmulDescOpaque_t, Deleter<cublasLtMatmulDescDestroy>>;
using Layout = std::unique_ptr<cublasLtMatrixLayoutOpaque_t, Deleter<cublasLtMatrixLayoutDestroy>>;
using Preference =
    std::unique_ptr<cublasLtMatmulPreferenceOpaque_t, Deleter<cublasLtMatmulPreferenceDestroy>>;

}  // namespace elbo::cublaslt
