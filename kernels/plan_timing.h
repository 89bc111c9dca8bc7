// Finding out which of several ways to compute a product is fastest (CUDA only). Private to kernels/.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "kernels/exec.h"

namespace elbo::cuda {

// Whether the stream's launches are being recorded into a graph: then nothing can be waited for.
bool is_recording(const Exec& exec);

// Index of the candidate with the smallest median time; of equals the first. Each is run a few times, so
// each must leave the same behind however often it runs.
size_t fastest_of(const Exec& exec, const std::vector<std::function<void()>>& candidates);

// Zeros in the device's memory for as long as a measurement takes: a stand-in for what must not be
// added to twice. data() is null if there is no room.
class SpareMemory {
 public:
  SpareMemory(const Exec& exec, size_t bytes);
  ~SpareMemory();
  SpareMemory(const SpareMemory&) = delete;
  SpareMemory& operator=(const SpareMemory&) = delete;

  float* data() const { return static_cast<float*>(data_); }

 private:
  void* data_ = nullptr;
};

}  // namespace elbo::cuda
