// Packs the buffers of one training step into one block, given when each is first and last used.
//
// Sizes and lifetimes repeat from step to step, so this is solved once per shape signature;
// addresses are then fixed, which is what a CUDA graph needs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace elbo {

struct BufferLife {
  size_t bytes = 0;
  int32_t first_use = 0;  // index of the op that first touches the buffer
  int32_t last_use = 0;   // and of the last one; the buffer is free to be reused after it
};

struct LivenessPlan {
  std::vector<BufferLife> lives;
  std::vector<size_t> offsets;  // multiples of 256, one per buffer
  size_t total_bytes = 0;       // size of the block
  size_t sum_bytes = 0;         // what it would be without reuse
};

// Greedy by decreasing size: each buffer goes into the smallest gap that fits among those whose
// lifetimes overlap its own. `padding` bytes stay free behind each buffer (red zones).
LivenessPlan plan_liveness(std::vector<BufferLife> lives, size_t padding);

}  // namespace elbo
