// What tests/golden/make_training_step.py and its test draw from: numbers that both can make.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/noise.h"

namespace elbo::golden {

// splitmix64 of (stream, i) as numbers in [0, 1).
inline double golden_uniform(uint64_t stream, uint64_t i) {
  uint64_t z = ((stream << 32) + i + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  z = z ^ (z >> 31);
  return static_cast<double>(z >> 11) * 0x1p-53;
}

inline constexpr uint64_t kNoiseSeed = 11;

}  // namespace elbo::golden
