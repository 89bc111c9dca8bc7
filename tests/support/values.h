// Random inputs, and comparison of float results with a double reference.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "kernels/storage.h"

namespace elbo {

// Sizes around every width that a kernel treats specially: lanes, warps, blocks, vectors.
inline const std::vector<int64_t> kSizes = {0, 1, 31, 32, 33, 255, 257, 1000};

struct MatrixShape {
  int64_t rows, cols;
};
// Odd pairs, and some that take the 16-byte paths.
inline const std::vector<MatrixShape> kMatrixShapes = {
    {0, 5}, {5, 0},  {1, 1},   {3, 1},   {1, 33},   {31, 7},  {33, 31},
    {8, 4}, {5, 32}, {5, 257}, {257, 3}, {3, 1000}, {67, 64}, {2, 1025}};

template <class T = float>
std::vector<T> random_values(int64_t count, uint64_t seed, double low = -2.0, double high = 2.0) {
  std::mt19937_64 engine(seed);
  std::uniform_real_distribution<double> draw(low, high);
  std::vector<T> values(static_cast<size_t>(count));
  for (T& value : values) value = from_float<T>(static_cast<Compute<T>>(draw(engine)));
  return values;
}

inline std::vector<uint16_t> bits_of_rounded(const std::vector<float>& values) {
  std::vector<uint16_t> bits;
  for (const float v : values) bits.push_back(from_float<bf16>(v).bits);
  return bits;
}
inline std::vector<uint16_t> bits_of(const std::vector<bf16>& values) {
  std::vector<uint16_t> bits;
  for (const bf16 v : values) bits.push_back(v.bits);
  return bits;
}

// |actual - expected| <= absolute + relative * |expected| for every element; NaN matches NaN, an
// infinity the same infinity. Reports the worst element only.
template <class T>
void expect_close(const std::vector<T>& actual, const std::vector<double>& expected,
                  double absolute, double relative, const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  size_t worst = 0;
  double worst_ratio = 0.0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const auto a = static_cast<double>(to_float(actual[i]));
    const double e = expected[i];
    if (a == e || (std::isnan(a) && std::isnan(e))) continue;
    const double allowed = absolute + relative * std::abs(e);
    double ratio = std::abs(a - e) / allowed;
    if (std::isnan(ratio)) ratio = HUGE_VAL;
    if (ratio > worst_ratio) worst_ratio = ratio, worst = i;
  }
  EXPECT_LE(worst_ratio, 1.0) << what << ": element " << worst << " of " << actual.size() << " is "
                              << static_cast<double>(to_float(actual[worst])) << ", expected "
                              << expected[worst] << " (" << worst_ratio << " times the tolerance)";
}

}  // namespace elbo
