// Handles, descriptions, layouts and preferences.
#include <cstring>

#include "tests/sim/fake_cublaslt.h"
#include "tests/sim/reports.h"

namespace cudasim {
namespace {
const char* refusal = "";
}
const char* cublaslt_refusal() { return refusal; }

namespace lt {

cublasStatus_t refuse(cublasStatus_t status, const char* reason) {
  refusal = reason;
  return status;
}

// The library reports its own failures by status; it leaves nothing for cudaGetLastError.
LtCall::LtCall() {
  if (failed()) cudaGetLastError();
}

cublasStatus_t LtCall::error() const {
  if (!failed()) return CUBLAS_STATUS_SUCCESS;
  return call_.error() == cudaErrorMemoryAllocation ? CUBLAS_STATUS_ALLOC_FAILED
                                                    : CUBLAS_STATUS_EXECUTION_FAILED;
}

namespace {

template <class T, class Handle, class... Values>
cublasStatus_t create(Handle* handle, Values... values) {
  LtCall call;
  if (call.failed()) return call.error();
  *handle = reinterpret_cast<Handle>(new T{values...});
  ++live_objects.handles;
  return CUBLAS_STATUS_SUCCESS;
}

template <class T, class Handle>
cublasStatus_t destroy(Handle handle) {
  LtCall call;
  if (!handle) return refuse(CUBLAS_STATUS_INVALID_VALUE, "destroying a null handle");
  delete reinterpret_cast<const T*>(handle);
  --live_objects.handles;
  return call.error();
}

// Header: sizeInBytes must match the attribute's type.
template <class T>
cublasStatus_t assign(T* field, const void* value, size_t bytes) {
  if (!value || bytes != sizeof(T)) {
    return refuse(CUBLAS_STATUS_INVALID_VALUE, "size of an attribute's value");
  }
  std::memcpy(field, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace
}  // namespace lt
}  // namespace cudasim

using namespace cudasim;
using namespace cudasim::lt;

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) { return create<Library>(handle); }
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) { return destroy<Library>(handle); }
size_t cublasLtGetVersion(void) { return CUBLAS_VERSION; }

const char* cublasLtGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_ALLOC_FAILED:
      return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
    default:
      return "CUBLAS_STATUS_INTERNAL_ERROR";
  }
}
const char* cublasLtGetStatusString(cublasStatus_t status) { return cublasLtGetStatusName(status); }

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* handle, cublasComputeType_t compute,
                                        cudaDataType_t scale_type) {
  return create<Operation>(handle, compute, scale_type);
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t handle) {
  return destroy<Operation>(handle);
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t handle,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t bytes) {
  LtCall call;
  if (call.failed()) return call.error();
  Operation& op = *operation(handle);
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_POINTER_MODE:
      return assign(&op.pointer_mode, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return assign(&op.transpose_a, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return assign(&op.transpose_b, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return assign(&op.epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return assign(&op.bias, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
      return assign(&op.bias_type, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER:
      return assign(&op.aux, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD:
      return assign(&op.aux_ld, value, bytes);
    default:
      return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "attribute of a description: not simulated");
  }
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* handle, cudaDataType type,
                                          uint64_t rows, uint64_t cols, int64_t ld) {
  return create<Matrix>(handle, type, rows, cols, ld);
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t handle) {
  return destroy<Matrix>(handle);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* handle) {
  return create<Preference>(handle);
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t handle) {
  return destroy<Preference>(handle);
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t handle,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, size_t bytes) {
  LtCall call;
  if (call.failed()) return call.error();
  Preference& wish = *preference(handle);
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      return assign(&wish.workspace, value, bytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
      return assign(&wish.reduction_mask, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
      return assign(&wish.align_a, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
      return assign(&wish.align_b, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
      return assign(&wish.align_c, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
      return assign(&wish.align_d, value, bytes);
    default:
      return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "attribute of a preference: not simulated");
  }
}
