// How long the device works on what is submitted to a stream.
#pragma once

#include "kernels/gpu.h"

#ifdef ELBO_HAS_CUDA

namespace elbo::gpu {

class EventTimer {
 public:
  EventTimer() {
    ELBO_CUDA_CHECK(cudaEventCreate(&begin_));
    if (const cudaError_t status = cudaEventCreate(&end_); status != cudaSuccess) {
      cudaEventDestroy(begin_);  // no destructor runs for what was not constructed
      ELBO_CUDA_CHECK(status);
    }
  }
  ~EventTimer() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
  }
  EventTimer(const EventTimer&) = delete;
  EventTimer& operator=(const EventTimer&) = delete;

  // Microseconds from the begin to the end of what work() submits. Waits for it.
  template <class Work>
  double us(cudaStream_t stream, Work&& work) {
    ELBO_CUDA_CHECK(cudaEventRecord(begin_, stream));
    work();
    ELBO_CUDA_CHECK(cudaEventRecord(end_, stream));
    ELBO_CUDA_CHECK(cudaEventSynchronize(end_));
    float ms = 0.0f;
    ELBO_CUDA_CHECK(cudaEventElapsedTime(&ms, begin_, end_));
    return 1e3 * static_cast<double>(ms);
  }

 private:
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

}  // namespace elbo::gpu

#endif  // ELBO_HAS_CUDA
