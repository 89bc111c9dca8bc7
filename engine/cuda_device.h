// The CUDA runtime calls that engine/context.cpp needs, so that it compiles without CUDA's headers.
// Defined in cuda_device_cuda.cpp, which only CUDA builds contain.
#pragma once

#include <cstddef>
#include <string>

#include "kernels/exec.h"

namespace elbo::cuda_device {

// Empty if device `index` is usable, otherwise one line that says why not.
std::string why_unusable(int index);
std::string describe(int index);

void use(int index);
bool can_overlap_launches();  // of the device in use: programmatic dependent launch
Stream create_stream();
void destroy_stream(Stream stream) noexcept;
void synchronize(Stream stream);
// For a tool that records between the two calls only; without one they do nothing.
void start_profiler();
void stop_profiler();

// Work given to `after` from now on waits for what `before` has been given so far. `event` is a
// scratch event of the caller; it may be used again at once.
using Event = void*;
Event create_event();
void destroy_event(Event event) noexcept;
void order(Stream before, Stream after, Event event);

// Between begin and end, work given to the stream is recorded, not run. end_recording() throws if
// something in between could not be recorded; the recording is over in either case.
struct Graph {
  void* executable = nullptr;
  int nodes = 0, kernels = 0;
};
void begin_recording(Stream stream);
Graph end_recording(Stream stream);
void abandon_recording(Stream stream) noexcept;
void launch_graph(void* executable, Stream stream);
void destroy_graph(void* executable) noexcept;

void* allocate(size_t bytes);  // null when there is no memory left
void free(void* data) noexcept;
size_t free_bytes();
// Page-locked host memory, which kernels can read at the same address.
void* allocate_host(size_t bytes);  // null when there is none left
void free_host(void* data) noexcept;

void upload(void* device_data, const void* host_data, size_t bytes, Stream stream);
void download(void* host_data, const void* device_data, size_t bytes, Stream stream);
void copy(void* to, const void* from, size_t bytes, Stream stream);
void fill_bytes(void* device_data, int value, size_t bytes, Stream stream);

}  // namespace elbo::cuda_device
