// Storage types of tensors. Arithmetic is always fp32; a kernel is a template on what it loads and
// stores.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

#include "kernels/exec.h"
#include "kernels/portability.h"

namespace elbo {

// bfloat16 by its bits, the same layout as __nv_bfloat16, usable without CUDA's headers.
struct bf16 {
  uint16_t bits;
};

// What arithmetic on a T is done in.
template <class T>
using Compute = std::conditional_t<std::is_same_v<T, double>, double, float>;

template <class T>
inline constexpr bool kHasDeviceCode = !std::is_same_v<T, double>;

ELBO_HD float to_float(float v) { return v; }
ELBO_HD double to_float(double v) { return v; }
ELBO_HD float to_float(bf16 v) { return std::bit_cast<float>(static_cast<uint32_t>(v.bits) << 16); }

template <class T>
ELBO_HD T from_float(Compute<T> v);
template <>
ELBO_HD double from_float<double>(double v) {
  return v;
}
template <>
ELBO_HD float from_float<float>(float v) {
  return v;
}
// Round to nearest even; a NaN stays a NaN (adding the rounding bias could turn it into infinity).
template <>
ELBO_HD bf16 from_float<bf16>(float v) {
  const uint32_t u = std::bit_cast<uint32_t>(v);
  const uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  const uint32_t quiet_nan = (u >> 16) | 0x40u;
  return bf16{static_cast<uint16_t>(v != v ? quiet_nan : rounded)};
}

// What a backward kernel does with an element of a gradient.
template <class T>
ELBO_HD void put_gradient(T& to, Compute<T> value, GradMode mode) {
  to = from_float<T>(mode == GradMode::add ? to_float(to) + value : value);
}

// Elements of T in one 16-byte access.
template <class T>
inline constexpr int kVector = 16 / static_cast<int>(sizeof(T));

}  // namespace elbo
