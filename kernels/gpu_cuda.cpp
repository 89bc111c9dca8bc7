#include <cxxabi.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "kernels/error.h"
#include "kernels/gpu.h"

namespace elbo::gpu {
namespace {

std::atomic<uint64_t> launches{0};

const char* hint(cudaError_t status) {
  switch (status) {
    case cudaErrorMemoryAllocation:
      return "the GPU's memory is full: use a smaller batch, close other programs, or --device cpu";
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorInitializationError:
      return "no usable NVIDIA driver or GPU: check nvidia-smi, or use --device cpu";
    case cudaErrorInvalidDevice:
      return "there is no GPU of this number: check nvidia-smi";
    case cudaErrorNoKernelImageForDevice:
      return "this program was not built for this GPU: set CMAKE_CUDA_ARCHITECTURES and rebuild";
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorMisalignedAddress:
    case cudaErrorIllegalInstruction:
    case cudaErrorAssert:
      return "a kernel failed and the GPU context is lost: restart, with ELBO_SYNC=1 to name it";
    default:
      return "";
  }
}

// "kernels/adam.cu:12": the last two parts of a path are enough to find the line.
std::string short_place(const char* file, int line) {
  const char* start = file;
  for (const char *slash = file, *before = nullptr; (slash = std::strchr(slash, '/')); ++slash) {
    if (before) start = before + 1;
    before = slash;
  }
  return concat(start, ":", line);
}

std::string describe(cudaError_t status) {
  const char* advice = hint(status);
  return concat(cudaGetErrorString(status), " (", cudaGetErrorName(status), ")",
                *advice ? "; " : "", advice);
}

std::string kernel_name(const void* kernel) {
  const char* mangled = nullptr;
  if (cudaFuncGetName(&mangled, kernel) != cudaSuccess || !mangled) {
    cudaGetLastError();
    return "(unknown kernel)";
  }
  int failed = 0;
  const std::unique_ptr<char, decltype(&std::free)> name(
      abi::__cxa_demangle(mangled, nullptr, nullptr, &failed), &std::free);
  return failed ? mangled : name.get();
}

[[noreturn]] void throw_launch_error(cudaError_t status, const char* what, const void* kernel,
                                     dim3 grid, dim3 block, size_t shared_bytes) {
  cudaGetLastError();
  throw_error(ErrorCode::device, what, " of ", kernel_name(kernel), " failed: ", describe(status),
              " [grid ", grid.x, "x", grid.y, "x", grid.z, ", block ", block.x, "x", block.y, "x",
              block.z, ", ", shared_bytes, " bytes of dynamic shared memory]");
}

}  // namespace

bool sync_after_launch() {
  static const bool on = [] {
    const char* value = std::getenv("ELBO_SYNC");
    return value && *value && std::strcmp(value, "0") != 0;
  }();
  return on;
}

void throw_cuda_error(cudaError_t status, const char* call, const char* file, int line) {
  cudaGetLastError();
  throw_error(ErrorCode::device, call, " failed: ", describe(status), " [", short_place(file, line),
              "]");
}

uint64_t launch_count() { return launches; }
void note_launch() { ++launches; }

void finish_launch(cudaError_t status, const void* kernel, dim3 grid, dim3 block,
                   size_t shared_bytes, cudaStream_t stream) {
  if (status != cudaSuccess) {
    throw_launch_error(status, "launch", kernel, grid, block, shared_bytes);
  }
  note_launch();
  if (!sync_after_launch()) return;
  if (const cudaError_t after = cudaStreamSynchronize(stream); after != cudaSuccess) {
    throw_launch_error(after, "execution", kernel, grid, block, shared_bytes);
  }
}

}  // namespace elbo::gpu
