// Device and pinned host memory: allocation, copies, fills.
#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>

#include "tests/sim/race_hooks.h"
#include "tests/sim/reports.h"
#include "tests/sim/sanitizer.h"
#include "tests/sim/stream.h"

namespace cudasim {
namespace {

constexpr int kPoison = 0xFF;
constexpr unsigned char kCanary = 0xA5;
constexpr size_t kAlignment = 256;  // what cudaMalloc promises

// Start address to size. Never destroyed, see runtime_call.cpp.
using Allocations = std::map<uintptr_t, size_t>;
Allocations& device_memory = *new Allocations;
Allocations& host_memory = *new Allocations;

// Every allocation has at least kAlignment bytes of canary behind it.
size_t capacity_of(size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment + kAlignment;
}

bool contains(const Allocations& allocations, const void* pointer, size_t bytes) {
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  auto next = allocations.upper_bound(address);
  if (next == allocations.begin()) return false;
  const auto& [start, size] = *--next;
  return address - start <= size && bytes <= size - (address - start);
}

cudaError_t allocate(void** pointer, size_t bytes) {
  *pointer = nullptr;
  if (bytes == 0) return cudaSuccess;
  const size_t used = live_objects.device_bytes;
  if (bytes > config().memory_limit || used > config().memory_limit - bytes) {
    return cudaErrorMemoryAllocation;
  }
  auto* data = static_cast<char*>(std::aligned_alloc(kAlignment, capacity_of(bytes)));
  if (!data) return cudaErrorMemoryAllocation;
  std::memset(data, config().poison ? kPoison : 0, bytes);
  std::memset(data + bytes, kCanary, capacity_of(bytes) - bytes);
#ifdef CUDASIM_ASAN
  __asan_poison_memory_region(data + bytes, capacity_of(bytes) - bytes);
#endif
  device_memory[reinterpret_cast<uintptr_t>(data)] = bytes;
  live_objects.device_bytes += bytes;
  ++live_objects.allocations;
  race::allocate(data, bytes);
  *pointer = data;
  return cudaSuccess;
}

void check_overrun([[maybe_unused]] uintptr_t start, [[maybe_unused]] size_t bytes) {
#ifndef CUDASIM_ASAN
  auto* data = reinterpret_cast<unsigned char*>(start);
  const size_t capacity = capacity_of(bytes);
  for (size_t i = bytes; i < capacity; ++i) {
    if (data[i] == kCanary) continue;
    add_report("overrun", "something wrote %zu bytes behind a device allocation of %zu bytes",
               i - bytes, bytes);
    std::memset(data + bytes, kCanary, capacity - bytes);
    return;
  }
#endif
}

cudaError_t release(void* pointer) {
  if (!pointer) return cudaSuccess;
  const auto found = device_memory.find(reinterpret_cast<uintptr_t>(pointer));
  if (found == device_memory.end()) {
    add_report("bad free", "cudaFree of a pointer that is not the start of a live allocation");
    return cudaErrorInvalidValue;
  }
  const auto [start, bytes] = *found;
  check_overrun(start, bytes);
#ifdef CUDASIM_ASAN
  __asan_unpoison_memory_region(pointer, capacity_of(bytes));
#endif
  race::release(pointer);
  live_objects.device_bytes -= bytes;
  --live_objects.allocations;
  device_memory.erase(found);
  std::free(pointer);
  return cudaSuccess;
}

bool direction_is_right(cudaMemcpyKind kind, bool to_device, bool from_device) {
  switch (kind) {
    case cudaMemcpyHostToHost:
      return !to_device && !from_device;
    case cudaMemcpyHostToDevice:
      return to_device && !from_device;
    case cudaMemcpyDeviceToHost:
      return !to_device && from_device;
    case cudaMemcpyDeviceToDevice:
      return to_device && from_device;
    default:
      return true;
  }
}

cudaError_t copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                 cudaStream_t stream) {
  if (!is_stream(stream)) return cudaErrorInvalidResourceHandle;
  if (bytes == 0) return cudaSuccess;
  // A range that begins in device memory must also end there.
  const bool to_device = is_device_range(to, 1), from_device = is_device_range(from, 1);
  if (!direction_is_right(kind, to_device, from_device)) return cudaErrorInvalidMemcpyDirection;
  if (to_device && !is_device_range(to, bytes)) return cudaErrorInvalidValue;
  if (from_device && !is_device_range(from, bytes)) return cudaErrorInvalidValue;
  const auto transfer = [=](const void* source) {
    std::memmove(to, source, bytes);
    if (to_device) race::host_write(to, bytes, from_device ? source : nullptr);
  };
  if (!from_device && !contains(host_memory, from, bytes)) {
    // Pageable memory is staged before the call returns, so the caller may reuse it at once.
    const auto* start = static_cast<const char*>(from);
    std::vector<char> staged(start, start + bytes);
    return submit(
        stream, [transfer, staged] { transfer(staged.data()); }, cudaGraphNodeTypeMemcpy);
  }
  return submit(
      stream, [transfer, from] { transfer(from); }, cudaGraphNodeTypeMemcpy);
}

cudaError_t fill(void* pointer, int value, size_t bytes, cudaStream_t stream) {
  if (!is_stream(stream)) return cudaErrorInvalidResourceHandle;
  if (bytes == 0) return cudaSuccess;
  if (!is_device_range(pointer, bytes)) return cudaErrorInvalidValue;
  const auto work = [=] {
    std::memset(pointer, value, bytes);
    race::host_write(pointer, bytes, nullptr);
  };
  return submit(stream, work, cudaGraphNodeTypeMemset);
}

cudaError_t allocate_host(void** pointer, size_t bytes) {
  ApiCall call;
  if (call.failed()) return call.error();
  *pointer = std::aligned_alloc(kAlignment, capacity_of(bytes));
  if (!*pointer) return call.finish(cudaErrorMemoryAllocation);
  host_memory[reinterpret_cast<uintptr_t>(*pointer)] = bytes;
  ++live_objects.host_allocations;
  race::allocate(*pointer, bytes);
  race::host_write(*pointer, bytes, nullptr);  // the host's own writes are not tracked
  return cudaSuccess;
}

}  // namespace

bool is_device_range(const void* pointer, size_t bytes) {
  return contains(device_memory, pointer, bytes);
}
bool is_kernel_range(const void* pointer, size_t bytes) {
  return is_device_range(pointer, bytes) || contains(host_memory, pointer, bytes);
}

void check_overruns() {
  for (const auto& [start, bytes] : device_memory) check_overrun(start, bytes);
}

void mark_unwritten(void* pointer, size_t bytes) {
  std::memset(pointer, kPoison, bytes);
  race::mark_unwritten(pointer, bytes);
}

}  // namespace cudasim

using namespace cudasim;

extern "C" {

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  ApiCall call;
  if (call.failed()) return call.error();
  if (const cudaError_t error = refuse_in_capture()) return call.finish(error);
  return call.finish(allocate(pointer, bytes));
}
cudaError_t cudaFree(void* pointer) {
  ApiCall call;
  refuse_in_capture();
  drain_all_streams();  // cudaFree waits for the device
  return call.finish(release(pointer));
}
cudaError_t cudaMallocAsync(void** pointer, size_t bytes, cudaStream_t stream) {
  ApiCall call;
  if (call.failed()) return call.error();
  if (!is_stream(stream)) return call.finish(cudaErrorInvalidResourceHandle);
  // The real one records allocation nodes; nothing here should want them.
  if (const cudaError_t error = refuse_in_capture(stream_of(stream))) return call.finish(error);
  return call.finish(allocate(pointer, bytes));
}
cudaError_t cudaFreeAsync(void* pointer, cudaStream_t stream) {
  ApiCall call;
  if (!is_stream(stream)) return call.finish(cudaErrorInvalidResourceHandle);
  if (const cudaError_t error = refuse_in_capture(stream_of(stream))) return call.finish(error);
  return call.finish(submit(
      stream, [=] { release(pointer); }, cudaGraphNodeTypeMemFree));
}

cudaError_t cudaMallocHost(void** pointer, size_t bytes) { return allocate_host(pointer, bytes); }
cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned) {
  return allocate_host(pointer, bytes);
}
cudaError_t cudaFreeHost(void* pointer) {
  ApiCall call;
  drain_all_streams();
  if (!pointer) return call.finish(cudaSuccess);
  if (host_memory.erase(reinterpret_cast<uintptr_t>(pointer)) == 0) {
    add_report("bad free", "cudaFreeHost of a pointer that is not a live pinned allocation");
    return call.finish(cudaErrorInvalidValue);
  }
  --live_objects.host_allocations;
  race::release(pointer);
  std::free(pointer);
  return call.finish(cudaSuccess);
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  ApiCall call;
  if (call.failed()) return call.error();
  return call.finish(copy(to, from, bytes, kind, stream));
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  ApiCall call;
  if (call.failed()) return call.error();
  if (const cudaError_t error = refuse_in_capture()) return call.finish(error);
  const cudaError_t outcome = copy(to, from, bytes, kind, nullptr);
  drain_stream(nullptr);
  return call.finish(outcome);
}
cudaError_t cudaMemsetAsync(void* pointer, int value, size_t bytes, cudaStream_t stream) {
  ApiCall call;
  if (call.failed()) return call.error();
  return call.finish(fill(pointer, value, bytes, stream));
}
cudaError_t cudaMemset(void* pointer, int value, size_t bytes) {
  ApiCall call;
  if (call.failed()) return call.error();
  if (const cudaError_t error = refuse_in_capture()) return call.finish(error);
  return call.finish(fill(pointer, value, bytes, nullptr));
}
cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  ApiCall call;
  if (call.failed()) return call.error();
  *total_bytes = config().memory_limit;
  *free_bytes = config().memory_limit - live_objects.device_bytes;
  return cudaSuccess;
}

}  // extern "C"
