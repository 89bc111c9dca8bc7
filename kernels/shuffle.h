// The shuffled order of a data set as a function: a keyed bijection of [0, n), no permutation
// array.
//
//   position i of epoch e reads sample shuffled_index(i, n, shuffle_key(seed, e))
//
// A Feistel network permutes the smallest power of two >= n; an image outside [0, n) is permuted
// again until it falls inside (cycle walking). That visits fewer than two images on average and
// ends, because the cycle through i comes back to i.
//
// Limits    1 <= n <= 2^32, i < n.
// Source    Luby & Rackoff 1988 (rounds); Black & Rogaway 2002 (cycle walking); finaliser of
//           MurmurHash3 as round function.
#pragma once

#include <cstdint>

#include "kernels/noise.h"
#include "kernels/portability.h"

namespace elbo {

struct ShuffleKey {
  uint32_t words[4] = {};
};

ELBO_HD ShuffleKey shuffle_key(uint64_t seed, uint64_t epoch) {
  NoiseAddress at;
  at.purpose = NoisePurpose::shuffle;
  at.step = epoch;
  const PhiloxCounter bits = noise_bits(NoiseKey{seed}, at, 0);
  return {{bits.c0, bits.c1, bits.c2, bits.c3}};
}

namespace detail {

// Four rounds make a pseudorandom permutation of large blocks (Luby & Rackoff). A few samples have
// halves of one or two bits: with 8 rounds 3 to 13 samples are visibly uneven over many epochs,
// with 12 they are not (tests). A call takes 40 ns.
inline constexpr int kFeistelRounds = 12;

ELBO_HD uint32_t mix32(uint32_t x) {
  x ^= x >> 16;
  x *= 0x85ebca6bu;
  x ^= x >> 13;
  x *= 0xc2b2ae35u;
  x ^= x >> 16;
  return x;
}

// Bits of the smallest power of two >= n.
ELBO_HD int bits_to_index(uint64_t n) {
  int bits = 0;
  while (bits < 32 && (uint64_t{1} << bits) < n) ++bits;
  return bits;
}

// Halves differ by a bit when `bits` is odd; they swap roles every round, so each round is inverted
// by itself whatever the round function is.
ELBO_HD uint32_t feistel(uint32_t x, int bits, const ShuffleKey& key) {
  const int low_bits = bits / 2;
  const uint32_t low_mask = (1u << low_bits) - 1u;
  const uint32_t high_mask = (1u << (bits - low_bits)) - 1u;
  uint32_t low = x & low_mask;
  uint32_t high = x >> low_bits;
  for (int round = 0; round < kFeistelRounds; round += 2) {
    const uint32_t tweak = static_cast<uint32_t>(round) * 0x9E3779B9u;
    high ^= mix32(low + key.words[round & 3] + tweak) & high_mask;
    low ^= mix32((high ^ key.words[(round + 1) & 3]) + tweak) & low_mask;
  }
  return (high << low_bits) | low;
}

}  // namespace detail

ELBO_HD uint64_t shuffled_index(uint64_t i, uint64_t n, const ShuffleKey& key) {
  const int bits = detail::bits_to_index(n);
  uint32_t x = static_cast<uint32_t>(i);
  do {
    x = detail::feistel(x, bits, key);
  } while (x >= n);
  return x;
}

}  // namespace elbo
