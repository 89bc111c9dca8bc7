// Asynchronous copies into shared memory and what a warp's matrix operation needs. Part of cudasim.h;
// kernels/gpu_tensor.cuh is the user.
#pragma once

#include <cstdint>

#include "tests/sim/device.h"

namespace cudasim {

// A copy that a thread has asked for. It happens in async_wait(), as late as the hardware may do it, so
// that a kernel which waits for too little reads what was there before.
struct AsyncCopy {
  void* to;
  const void* from;  // null: zeros
  int words;
};

void async_copy(const AsyncCopy& copy, const Site& site);
void async_commit();
// The oldest copy of the current thread that is not among its latest `groups_left` groups; false if
// there is none.
bool take_due_copy(int groups_left, AsyncCopy* copy);
void forget_async_copies();  // at the start of a block

// The current warp's fragments, one row of words per lane, filled by all lanes before any reads.
inline constexpr int kFragmentWords = 6;
using WarpFragments = uint32_t[32][kFragmentWords];
WarpFragments& publish_fragments(const uint32_t (&words)[kFragmentWords], const Site& site);
// All lanes have read.
void release_fragments(const Site& site);

// Here and not in the simulator's own code, so that the race checker sees the accesses.
inline void async_wait(int groups_left) {
  AsyncCopy copy;
  while (take_due_copy(groups_left, &copy)) {
    auto* to = static_cast<uint32_t*>(copy.to);
    const auto* from = static_cast<const uint32_t*>(copy.from);
    for (int i = 0; i < copy.words; ++i) to[i] = from ? from[i] : 0u;
  }
}

}  // namespace cudasim
