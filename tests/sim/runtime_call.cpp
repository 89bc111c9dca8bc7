// Counting, locking and failing runtime calls; errors and device queries.
#include <cuda_profiler_api.h>

#include <cstdio>
#include <cstring>

#include "tests/sim/reports.h"
#include "tests/sim/runtime.h"

namespace cudasim {

Live live_objects;

namespace {

// Never destroyed: destructors of static objects may still make runtime calls.
std::recursive_mutex& mutex = *new std::recursive_mutex;
cudaError_t last_error = cudaSuccess;
long calls = 0;
ProfilerCalls profiler;

constexpr int kMultiprocessors = 4;
constexpr size_t kSharedDefault = 48 << 10;
constexpr size_t kSharedOptIn = 227 << 10;  // of compute capability 9.0

bool injected() {
  long& n = config().fail_call;
  return n > 0 && --n == 0;
}

struct ErrorText {
  cudaError_t error;
  const char* name;
  const char* text;
};
constexpr ErrorText kErrors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration",
     "invalid configuration argument"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
     "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorInvalidMemcpyDirection, "cudaErrorInvalidMemcpyDirection",
     "invalid copy direction for memcpy"},
    {cudaErrorIllegalState, "cudaErrorIllegalState",
     "the operation cannot be performed in the present state"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
    {cudaErrorStreamCaptureMerge, "cudaErrorStreamCaptureMerge",
     "operation would result in a merge of separate capture sequences"},
    {cudaErrorStreamCaptureUnmatched, "cudaErrorStreamCaptureUnmatched",
     "capture was not ended in the same stream as it began"},
    {cudaErrorStreamCaptureUnjoined, "cudaErrorStreamCaptureUnjoined",
     "capturing stream has unjoined work"},
    {cudaErrorStreamCaptureIsolation, "cudaErrorStreamCaptureIsolation",
     "dependency created on uncaptured work in another stream"},
    {cudaErrorStreamCaptureImplicit, "cudaErrorStreamCaptureImplicit",
     "operation would make the legacy stream depend on a capturing blocking stream"},
    {cudaErrorCapturedEvent, "cudaErrorCapturedEvent",
     "operation not permitted on an event last recorded in a capturing stream"},
    {cudaErrorUnknown, "cudaErrorUnknown", "unknown error"},
};

const ErrorText& find_error(cudaError_t error) {
  for (const ErrorText& entry : kErrors) {
    if (entry.error == error) return entry;
  }
  return kErrors[std::size(kErrors) - 1];
}

int attribute_value(cudaDeviceAttr attribute) {
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      return kMultiprocessors;
    case cudaDevAttrMaxThreadsPerBlock:
      return 1024;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      return kSharedDefault;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      return kSharedOptIn;
    case cudaDevAttrWarpSize:
      return 32;
    case cudaDevAttrComputeCapabilityMajor:
      return 9;
    default:
      return 0;
  }
}

}  // namespace

ApiCall::ApiCall() : lock_(mutex), error_(sticky_error()) {
  ++calls;
  if (config().devices == 0) error_ = cudaErrorInsufficientDriver;
  if (injected()) error_ = config().fail_error;
  if (error_ != cudaSuccess) last_error = error_;
}

cudaError_t ApiCall::finish(cudaError_t outcome) {
  if (outcome == cudaSuccess) outcome = error_;
  if (outcome != cudaSuccess) last_error = outcome;
  return outcome;
}

ProfilerCalls profiler_calls() { return profiler; }
long call_count() { return calls; }
Live live() { return live_objects; }

std::string describe(const Live& l) {
  char text[256];
  std::snprintf(text, sizeof text,
                "%zu bytes in %d device allocations, %d pinned host allocations, %d streams, "
                "%d events, %d library handles, %d graphs",
                l.device_bytes, l.allocations, l.host_allocations, l.streams, l.events, l.handles,
                l.graphs);
  return text;
}

}  // namespace cudasim

using namespace cudasim;

extern "C" {

float rsqrtf(float x) { return 1.0f / __builtin_sqrtf(x); }

cudaError_t cudaGetLastError(void) {
  const cudaError_t error = last_error;
  last_error = sticky_error();
  return error;
}
cudaError_t cudaPeekAtLastError(void) { return last_error; }
const char* cudaGetErrorName(cudaError_t error) { return find_error(error).name; }
const char* cudaGetErrorString(cudaError_t error) { return find_error(error).text; }

// As without a driver: returns an error and leaves *count alone.
cudaError_t cudaGetDeviceCount(int* count) {
  ApiCall call;
  if (call.failed()) return call.error();
  *count = config().devices;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  ApiCall call;
  if (call.failed()) return call.error();
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  ApiCall call;
  if (call.failed()) return call.error();
  return call.finish(device == 0 ? cudaSuccess : cudaErrorInvalidDevice);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  ApiCall call;
  if (call.failed()) return call.error();
  if (device != 0) return call.finish(cudaErrorInvalidDevice);
  std::memset(properties, 0, sizeof *properties);
  std::snprintf(properties->name, sizeof properties->name, "Elbo CUDA simulator");
  properties->totalGlobalMem = config().memory_limit;
  properties->sharedMemPerBlock = kSharedDefault;
  properties->sharedMemPerBlockOptin = kSharedOptIn;
  properties->regsPerBlock = 65536;
  properties->warpSize = 32;
  properties->maxThreadsPerBlock = 1024;
  properties->maxThreadsPerMultiProcessor = 2048;
  properties->multiProcessorCount = kMultiprocessors;
  properties->major = 9;
  properties->l2CacheSize = 1 << 20;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  ApiCall call;
  if (call.failed()) return call.error();
  if (device != 0) return call.finish(cudaErrorInvalidDevice);
  *value = attribute_value(attribute);
  return cudaSuccess;
}

// Without a driver its version is 0, and asking is not an error.
cudaError_t cudaDriverGetVersion(int* version) {
  *version = config().devices ? CUDART_VERSION : 0;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaFuncGetName(const char** name, const void* function) {
  *name = mangled_name(function);
  return *name ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaProfilerStart(void) {
  ++profiler.starts;
  return cudaSuccess;
}
cudaError_t cudaProfilerStop(void) {
  ++profiler.stops;
  return cudaSuccess;
}

}  // extern "C"
