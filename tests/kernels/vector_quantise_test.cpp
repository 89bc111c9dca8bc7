#include "kernels/vector_quantise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/support/device.h"
#include "tests/support/error_of.h"
#include "tests/support/values.h"

namespace elbo {
namespace {

struct Sizes {
  int64_t rows, dim, size;
};
// Around the widths of lanes, warps and of the vectors that share a load.
const std::vector<Sizes> kCases = {
    {1, 1, 1},   {1, 3, 2},   {2, 5, 15},  {3, 1, 16},  {4, 2, 17},   {5, 8, 31},   {7, 16, 32},
    {8, 17, 33}, {9, 31, 48}, {33, 4, 65}, {65, 33, 7}, {130, 64, 9}, {257, 3, 100}};

struct Found {
  std::vector<int32_t> index;
  std::vector<float> q, squares;
};

class NearestCodesTest : public DeviceTest {
 protected:
  Found run(const Sizes& s, const std::vector<float>& x_values,
            const std::vector<float>& code_values, size_t shift = 0) {
    DeviceBuffer<float> x(device(), x_values, shift), codes(device(), code_values, shift);
    DeviceBuffer<float> q(device(), x_values.size(), shift);
    DeviceBuffer<float> squares(device(), static_cast<size_t>(s.rows), shift);
    DeviceBuffer<int32_t> index(device(), static_cast<size_t>(s.rows), shift);
    nearest_codes<float>(exec(), {s.rows, s.dim, s.size, x.data(), codes.data(), index.data(),
                                  q.data(), squares.data()});
    return {index.download(), q.download(), squares.download()};
  }
};

double square(const Sizes& s, const std::vector<float>& x, const std::vector<float>& codes,
              int64_t row, int64_t k) {
  double sum = 0;
  for (int64_t d = 0; d < s.dim; ++d) {
    const double off = double{x[row * s.dim + d]} - double{codes[d * s.size + k]};
    sum += off * off;
  }
  return sum;
}

TEST_P(NearestCodesTest, FindsTheNearestOfAllCodes) {
  for (const Sizes& s : kCases) {
    const auto x = random_values(s.rows * s.dim, 1), codes = random_values(s.dim * s.size, 2);
    for (const size_t shift : {0, 1}) {
      const Found found = run(s, x, codes, shift);
      for (int64_t row = 0; row < s.rows; ++row) {
        const std::string at = concat(s.rows, "x", s.dim, "x", s.size, " row ", row);
        int64_t nearest = 0;
        for (int64_t k = 1; k < s.size; ++k) {
          if (square(s, x, codes, row, k) < square(s, x, codes, row, nearest)) nearest = k;
        }
        // Random numbers are not so near to a tie that fp32 decides it.
        ASSERT_EQ(found.index[row], nearest) << at;
        const double expected = square(s, x, codes, row, nearest);
        // one rounding of each difference, square and sum
        const double rounding = static_cast<double>(s.dim + 3) * 0x1p-24;
        ASSERT_NEAR(found.squares[row], expected, rounding * expected) << at;
        for (int64_t d = 0; d < s.dim; ++d) {
          ASSERT_EQ(found.q[row * s.dim + d], codes[d * s.size + nearest]) << at;
        }
      }
    }
  }
}

// A CUDA grid has at most 1056 blocks of 8 warps of 4 vectors: the last ones are a second round's.
TEST_P(NearestCodesTest, MoreVectorsThanAGridHolds) {
  const Sizes s{1056 * 32 + 45, 1, 2};
  std::vector<float> x;
  for (int64_t row = 0; row < s.rows; ++row) x.push_back(row % 3 == 0 ? 0.25f : 1.0f);
  const Found found = run(s, x, {1.5f, 0.0f});
  for (int64_t row = 0; row < s.rows; ++row) {
    ASSERT_EQ(found.index[row], row % 3 == 0 ? 1 : 0) << row;
    ASSERT_EQ(found.squares[row], row % 3 == 0 ? 0.0625f : 0.25f) << row;
  }
}

// Both devices sum the distances in the same order.
TEST_P(NearestCodesTest, SquaresHaveTheSameBitsOnBothDevices) {
  const Sizes s{37, 19, 53};
  const auto x = random_values(s.rows * s.dim, 3), codes = random_values(s.dim * s.size, 4);
  const Found found = run(s, x, codes);
  for (int64_t row = 0; row < s.rows; ++row) {
    float sum = 0;
    for (int64_t d = 0; d < s.dim; ++d) {
      const float off = x[row * s.dim + d] - codes[d * s.size + found.index[row]];
      sum = std::fma(off, off, sum);
    }
    ASSERT_EQ(found.squares[row], sum) << row;
  }
}

// Codes twice over: in the same lane, in others, in the part that is no multiple of sixteen.
TEST_P(NearestCodesTest, TheLowestOfEqualCodesWins) {
  for (const int64_t size : {2, 16, 20, 33, 64, 70}) {
    for (int64_t first = 0; first < size; ++first) {
      for (const int64_t again : {first + 1, first + 16, first + 19, first + 32, size - 1}) {
        if (again <= first || again >= size) continue;
        const Sizes s{1, 2, size};
        std::vector<float> codes(static_cast<size_t>(2 * size), 9.0f);
        for (const int64_t k : {first, again}) {
          codes[k] = 0.5f;
          codes[size + k] = -1.0f;
        }
        ASSERT_EQ(run(s, {0.25f, -1.0f}, codes).index[0], first)
            << first << " and " << again << " of " << size;
      }
    }
  }
}

TEST_P(NearestCodesTest, WhatIsNotFiniteGivesAValidIndexAndShows) {
  const Sizes s{3, 2, 40};
  const auto codes = random_values(s.dim * s.size, 5);
  const Found found = run(s, {NAN, 0.0f, INFINITY, 1.0f, 0.0f, 0.0f}, codes);
  for (const int64_t row : {0, 1}) {
    EXPECT_EQ(found.index[row], 0) << row;
    EXPECT_FALSE(std::isfinite(found.squares[row])) << row;
  }
  EXPECT_TRUE(std::isfinite(found.squares[2]));
}

TEST_P(NearestCodesTest, RepeatsInAnyOrderOfThreads) {
  const Sizes s{70, 9, 40};
  const auto x = random_values(s.rows * s.dim, 6), codes = random_values(s.dim * s.size, 7);
  for_each_order(device(), [&] { return run(s, x, codes).index; });
}

// dx = dq + 2 dsquares (x - q)
TEST_P(NearestCodesTest, TheGradientGoesStraightThrough) {
  for (const Sizes& s : kCases) {
    const int64_t n = s.rows * s.dim;
    const auto x = random_values(n, 1), q = random_values(n, 2), dq = random_values(n, 3);
    const auto dsquares = random_values(s.rows, 4), before = random_values(n, 5);
    for (const GradMode mode : {GradMode::write, GradMode::add}) {
      for (const bool with_dq : {false, true}) {
        for (const bool with_dsquares : {false, true}) {
          DeviceBuffer<float> x_on(device(), x), q_on(device(), q), dq_on(device(), dq),
              dsquares_on(device(), dsquares), dx(device(), before);
          nearest_codes_backward<float>(
              exec(), {s.rows, s.dim, x_on.data(), q_on.data(), with_dq ? dq_on.data() : nullptr,
                       with_dsquares ? dsquares_on.data() : nullptr, dx.data(), mode});
          std::vector<double> expected;
          for (int64_t i = 0; i < n; ++i) {
            double value = mode == GradMode::add ? before[i] : 0.0;
            if (with_dq) value += dq[i];
            if (with_dsquares) value += 2.0 * dsquares[i / s.dim] * (double{x[i]} - q[i]);
            expected.push_back(value);
          }
          // Terms of at most 16 are rounded a few times.
          expect_close(dx.download(), expected, 64 * 0x1p-24, 0, concat(s.rows, "x", s.dim));
        }
      }
    }
  }
}

TEST_P(NearestCodesTest, NothingToDoAndNothingToDoItWith) {
  expect_no_launch();
  nearest_codes<float>(exec(), {.rows = 0, .dim = 3, .size = 2});
  nearest_codes_backward<float>(exec(), {.rows = 0, .dim = 3});
  EXPECT_EQ(error_of([&] { nearest_codes<float>(exec(), {.rows = 1, .dim = 3, .size = 2}); }),
            "1: nearest_codes: null operand");
  EXPECT_EQ(error_of([&] { nearest_codes<float>(exec(), {.rows = 1, .dim = 3, .size = 0}); }),
            "1: nearest_codes: 1 vectors of 3 values and 0 codes");
  EXPECT_EQ(error_of([&] { nearest_codes_backward<float>(exec(), {.rows = 1, .dim = 3}); }),
            "1: nearest_codes_backward: null operand");
}

INSTANTIATE_TEST_SUITE_P(Devices, NearestCodesTest, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
