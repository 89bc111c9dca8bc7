// What the simulated runtime calls share: the guard at the top of each, streams, device memory.
#pragma once

#include <cuda_runtime.h>

#include <functional>
#include <mutex>

#include "tests/sim/control.h"

namespace cudasim {

// One runtime call: holds the lock for its duration, counts it, and knows whether it must fail
// because a kernel failed before (sticky) or because this call was chosen to fail
// (config().fail_call).
//
//   ApiCall call;
//   if (call.failed()) return call.error();
//   return call.finish(do_it());
//
// Calls that release something do it even when chosen to fail: on a real GPU they return the error
// of earlier asynchronous work, and the caller can do nothing but go on.
class ApiCall {
 public:
  ApiCall();
  bool failed() const { return error_ != cudaSuccess; }
  cudaError_t error() const { return error_; }
  // Records the outcome for cudaGetLastError.
  cudaError_t finish(cudaError_t outcome);

 private:
  std::lock_guard<std::recursive_mutex> lock_;
  cudaError_t error_;
};

// Puts work on a stream: runs it now, or later if config().async; a stream under capture records it as
// a node of that type.
cudaError_t submit(cudaStream_t stream, std::function<void()> work, cudaGraphNodeType type);
// Events recorded from now on are so much later, see Config::kernel_delay_us.
void delay_events(int microseconds);
bool is_stream(cudaStream_t stream);
void drain_stream(cudaStream_t stream);
void drain_all_streams();

// True if [pointer, pointer + bytes) lies inside one live allocation that kernels can reach: device
// memory, or also pinned host memory.
bool is_device_range(const void* pointer, size_t bytes);
bool is_kernel_range(const void* pointer, size_t bytes);

// Objects alive, by kind; see control.h.
extern Live live_objects;

}  // namespace cudasim
