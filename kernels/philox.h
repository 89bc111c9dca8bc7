// Philox4x32-10, the counter-based generator: 128 random bits as a pure function of a 128-bit
// counter and a 64-bit key, on either device.
//
// There is no state to store, split or restore: a resumed run, a recomputed backward pass and the
// other device all reach the same bits by naming the same counter.
//
// Work      10 rounds of two 32 x 32 -> 64 bit products; a loop over counters vectorises.
// Source    Salmon, Moraes, Dror, Shaw: Parallel random numbers, as easy as 1, 2, 3 (SC 2011).
//           Bit-identical with Random123's philox4x32 (tested). Written out here because that
//           header and curand_kernel.h cannot share a translation unit.
#pragma once

#include <cstdint>

#include "kernels/portability.h"

namespace elbo {

struct PhiloxCounter {
  uint32_t c0, c1, c2, c3;
};

struct PhiloxKey {
  uint32_t k0, k1;
};

// One round. Products of the two odd words are split: high halves mix with the other words and the
// key, low halves move over.
ELBO_HD PhiloxCounter philox_round(PhiloxCounter c, PhiloxKey key) {
  const uint64_t product0 = uint64_t{0xD2511F53u} * c.c0;
  const uint64_t product1 = uint64_t{0xCD9E8D57u} * c.c2;
  return {static_cast<uint32_t>(product1 >> 32) ^ c.c1 ^ key.k0, static_cast<uint32_t>(product1),
          static_cast<uint32_t>(product0 >> 32) ^ c.c3 ^ key.k1, static_cast<uint32_t>(product0)};
}

ELBO_HD PhiloxCounter philox4x32(PhiloxCounter counter, PhiloxKey key) {
  for (int round = 0; round < 10; ++round) {
    counter = philox_round(counter, key);
    key.k0 += 0x9E3779B9u;  // golden ratio
    key.k1 += 0xBB67AE85u;  // sqrt(3) - 1
  }
  return counter;
}

}  // namespace elbo
