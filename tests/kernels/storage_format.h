// Operands that a storage format (TF32 or bf16) holds exactly, for tests of products on tensor cores: then
// the products are exact, and only sums and stored results are rounded.
#pragma once

#include <bit>
#include <string>
#include <vector>

#include "kernels/storage.h"
#include "tests/kernels/linear_oracle.h"

namespace elbo {

template <class T>
struct Format;
template <>
struct Format<float> {
  static constexpr double kStored = 0;  // relative error of a stored result, beside that of its sum
  static float round(float v) {
    const uint32_t u = std::bit_cast<uint32_t>(v) & ~0x1fffu;  // 10 bits of mantissa
    return std::bit_cast<float>(u);
  }
};
template <>
struct Format<bf16> {
  static constexpr double kStored = 0x1p-8;  // half a unit in the last of 8 bits, and room for sums
  static float round(float v) { return to_float(from_float<bf16>(v)); }
};

template <class T>
std::vector<T> stored(const std::vector<float>& values) {
  std::vector<T> out;
  for (const float v : values) out.push_back(from_float<T>(v));
  return out;
}
template <class T>
std::vector<float> floats(const std::vector<T>& values) {
  std::vector<float> out;
  for (const T v : values) out.push_back(to_float(v));
  return out;
}

template <class T>
std::vector<float> exact_numbers(oracle::Numbers& source, int64_t count) {
  std::vector<float> values = source(count);
  for (float& v : values) v = Format<T>::round(v);
  return values;
}

// Results near zero keep the error of their sum.
template <class T>
void expect_stored_near(const std::vector<float>& got, const oracle::Matrix& want,
                        const std::string& what) {
  oracle::Matrix widened = want;
  for (size_t i = 0; i < want.value.size(); ++i) {
    widened.magnitude[i] += std::abs(want.value[i]) * Format<T>::kStored / oracle::kTolerance;
  }
  oracle::expect_near(got, widened, what);
}

}  // namespace elbo
