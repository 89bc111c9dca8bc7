#include "engine/cuda_device.h"

#include <cuda_profiler_api.h>
#include <cuda_runtime_api.h>

#include <cstdio>
#include <memory>
#include <vector>

#include "kernels/error.h"
#include "kernels/gpu.h"
#include "kernels/launch_order.h"

namespace elbo::cuda_device {

std::string why_unusable(int index) {
  int count = 0;  // the runtime leaves it untouched when it fails
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) {
    cudaGetLastError();
    return concat("no usable CUDA device: ", cudaGetErrorName(status), " (",
                  static_cast<int>(status), ")");
  }
  if (index < 0 || index >= count) {
    return concat("CUDA device ", index, " does not exist, this machine has ", count);
  }
  return "";
}

std::string describe(int index) {
  cudaDeviceProp properties{};
  ELBO_CUDA_CHECK(cudaGetDeviceProperties(&properties, index));
  char gib[32];
  std::snprintf(gib, sizeof gib, "%.1f GiB",
                static_cast<double>(properties.totalGlobalMem) / (1024.0 * 1024.0 * 1024.0));
  return concat(properties.name, " (compute ", properties.major, ".", properties.minor, ", ", gib,
                ")");
}

bool can_overlap_launches() {
  int index = 0, major = 0, minor = 0;
  ELBO_CUDA_CHECK(cudaGetDevice(&index));
  ELBO_CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index));
  ELBO_CUDA_CHECK(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, index));
  return gpu::kernels_wait_for_previous(10 * major + minor);
}

void use(int index) { ELBO_CUDA_CHECK(cudaSetDevice(index)); }

Stream create_stream() {
  cudaStream_t stream = nullptr;
  // Non-blocking: a stream tied to the legacy default stream cannot be captured into a graph.
  ELBO_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  return stream;
}

void destroy_stream(Stream stream) noexcept { cudaStreamDestroy(stream); }
void synchronize(Stream stream) { ELBO_CUDA_CHECK(cudaStreamSynchronize(stream)); }
void start_profiler() { ELBO_CUDA_CHECK(cudaProfilerStart()); }
void stop_profiler() { ELBO_CUDA_CHECK(cudaProfilerStop()); }

Event create_event() {
  cudaEvent_t event = nullptr;
  ELBO_CUDA_CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  return event;
}

void destroy_event(Event event) noexcept { cudaEventDestroy(static_cast<cudaEvent_t>(event)); }

void order(Stream before, Stream after, Event event) {
  ELBO_CUDA_CHECK(cudaEventRecord(static_cast<cudaEvent_t>(event), before));
  ELBO_CUDA_CHECK(cudaStreamWaitEvent(after, static_cast<cudaEvent_t>(event), 0));
}

void begin_recording(Stream stream) {
  // Thread-local: calls of other threads are none of this recording's business.
  ELBO_CUDA_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
}

Graph end_recording(Stream stream) {
  cudaGraph_t recorded = nullptr;
  ELBO_CUDA_CHECK(cudaStreamEndCapture(stream, &recorded));
  const std::unique_ptr<CUgraph_st, decltype(&cudaGraphDestroy)> owner(recorded, &cudaGraphDestroy);
  size_t count = 0;
  ELBO_CUDA_CHECK(cudaGraphGetNodes(recorded, nullptr, &count));
  std::vector<cudaGraphNode_t> nodes(count);
  ELBO_CUDA_CHECK(cudaGraphGetNodes(recorded, nodes.data(), &count));
  Graph graph;
  graph.nodes = static_cast<int>(count);
  for (cudaGraphNode_t node : nodes) {
    cudaGraphNodeType type{};
    ELBO_CUDA_CHECK(cudaGraphNodeGetType(node, &type));
    graph.kernels += type == cudaGraphNodeTypeKernel;
  }
  cudaGraphExec_t executable = nullptr;
  ELBO_CUDA_CHECK(cudaGraphInstantiate(&executable, recorded, 0));
  graph.executable = executable;
  return graph;
}

void abandon_recording(Stream stream) noexcept {
  cudaGraph_t recorded = nullptr;
  cudaStreamEndCapture(stream, &recorded);
  if (recorded) cudaGraphDestroy(recorded);
  cudaGetLastError();
}

void launch_graph(void* executable, Stream stream) {
  ELBO_CUDA_CHECK(cudaGraphLaunch(static_cast<cudaGraphExec_t>(executable), stream));
  gpu::note_launch();
}

void destroy_graph(void* executable) noexcept {
  cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(executable));
}

void* allocate(size_t bytes) {
  void* data = nullptr;
  const cudaError_t status = cudaMalloc(&data, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return nullptr;
  }
  ELBO_CUDA_CHECK(status);
  return data;
}

void free(void* data) noexcept { cudaFree(data); }

void* allocate_host(size_t bytes) {
  void* data = nullptr;
  const cudaError_t status = cudaMallocHost(&data, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return nullptr;
  }
  ELBO_CUDA_CHECK(status);
  return data;
}

void free_host(void* data) noexcept { cudaFreeHost(data); }

size_t free_bytes() {
  size_t available = 0, total = 0;
  return cudaMemGetInfo(&available, &total) == cudaSuccess ? available : 0;
}

void upload(void* device_data, const void* host_data, size_t bytes, Stream stream) {
  ELBO_CUDA_CHECK(cudaMemcpyAsync(device_data, host_data, bytes, cudaMemcpyHostToDevice, stream));
  ELBO_CUDA_CHECK(cudaStreamSynchronize(stream));
}

void download(void* host_data, const void* device_data, size_t bytes, Stream stream) {
  ELBO_CUDA_CHECK(cudaMemcpyAsync(host_data, device_data, bytes, cudaMemcpyDeviceToHost, stream));
  ELBO_CUDA_CHECK(cudaStreamSynchronize(stream));
}

void copy(void* to, const void* from, size_t bytes, Stream stream) {
  ELBO_CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream));
}

void fill_bytes(void* device_data, int value, size_t bytes, Stream stream) {
  ELBO_CUDA_CHECK(cudaMemsetAsync(device_data, value, bytes, stream));
}

}  // namespace elbo::cuda_device
