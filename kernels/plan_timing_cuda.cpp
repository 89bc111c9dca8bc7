#include "kernels/plan_timing.h"

#include <algorithm>
#include <array>

#include "kernels/event_timer.h"
#include "kernels/gpu.h"

namespace elbo::cuda {

bool is_recording(const Exec& exec) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  ELBO_CUDA_CHECK(cudaStreamIsCapturing(exec.stream, &status));
  return status != cudaStreamCaptureStatusNone;
}

size_t fastest_of(const Exec& exec, const std::vector<std::function<void()>>& candidates) {
  // The median of five is right with two samples disturbed. Two runs in a row: the second is launched
  // while the first still runs, as in a step, where the host is ahead.
  constexpr size_t kSamples = 5, kInARow = 2;
  gpu::EventTimer timer;
  std::vector<std::array<double, kSamples>> times(candidates.size());
  for (const auto& run : candidates) run();  // loads kernels and lets libraries plan
  // In turns, so that a clock that rises or falls meets all of them.
  for (size_t sample = 0; sample < kSamples; ++sample) {
    for (size_t i = 0; i < candidates.size(); ++i) {
      times[i][sample] = timer.us(exec.stream, [&] {
        for (size_t run = 0; run < kInARow; ++run) candidates[i]();
      });
    }
  }
  std::vector<double> medians;
  for (auto& samples : times) {
    std::nth_element(samples.begin(), samples.begin() + kSamples / 2, samples.end());
    medians.push_back(samples[kSamples / 2]);
  }
  return static_cast<size_t>(std::min_element(medians.begin(), medians.end()) - medians.begin());
}

SpareMemory::SpareMemory(const Exec& exec, size_t bytes) {
  if (bytes == 0) return;
  const cudaError_t status = cudaMalloc(&data_, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // not for the next call to report
    data_ = nullptr;
    return;
  }
  ELBO_CUDA_CHECK(status);
  if (const cudaError_t filled = cudaMemsetAsync(data_, 0, bytes, exec.stream);
      filled != cudaSuccess) {
    cudaFree(data_);  // no destructor runs for what was not constructed
    ELBO_CUDA_CHECK(filled);
  }
}

SpareMemory::~SpareMemory() { cudaFree(data_); }

}  // namespace elbo::cuda
