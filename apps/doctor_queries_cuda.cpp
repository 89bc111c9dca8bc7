#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include "apps/doctor_cuda.h"

namespace elbo::doctor_cuda {
namespace {

std::string version_text(int version) {  // 13010 -> "13.1"
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

}  // namespace

std::string toolkit_version() { return version_text(CUDART_VERSION); }

std::string driver_version() {
  int version = 0;
  return cudaDriverGetVersion(&version) == cudaSuccess && version > 0 ? version_text(version) : "";
}

std::string cublaslt_version() { return std::to_string(cublasLtGetVersion()); }

int device_count() {
  int count = 0;  // left untouched when the call fails
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  cudaGetLastError();
  return 0;
}

}  // namespace elbo::doctor_cuda
