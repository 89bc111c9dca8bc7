// Asynchronous copies into shared memory and what a warp's matrix operation needs. Part of cudasim.h;
// kernels/gpu_tensor.cuh is the user.
#pragma once

#include <bit>
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

// c += A B for a warp's tile of 16 x 8, all lanes calling with their fragments of A, B and C: those of
// mma.m16n8k8 on TF32 numbers, or with two bf16 numbers to a word, of mma.m16n8k16.
void multiply_tile(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                   int numbers_per_word, const Site& site);

// What tensor cores make of a float: 10 bits of mantissa, to nearest, ties away from zero.
inline float round_to_tf32(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7f800000u) == 0x7f800000u) return value;  // infinity, NaN
  return std::bit_cast<float>((bits + 0x1000u) & ~0x1fffu);
}

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
