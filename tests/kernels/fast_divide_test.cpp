#include "kernels/fast_divide.h"

#include <gtest/gtest.h>

#include <random>

namespace elbo {
namespace {

constexpr int64_t kMost = (int64_t{1} << 31) - 1;

void expect_divides(int64_t divisor, int64_t n) {
  const auto got = FastDivisor(divisor).divide(static_cast<uint32_t>(n));
  ASSERT_EQ(int64_t{got.quotient}, n / divisor) << n << " / " << divisor;
  ASSERT_EQ(int64_t{got.remainder}, n % divisor) << n << " % " << divisor;
}

TEST(FastDivisorTest, AgreesWithDivisionAroundMultiples) {
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    const int64_t divisor =
        i < 3000 ? i + 1
                 : 1 + static_cast<int64_t>(random() % kMost) % (int64_t{1} << (i % 31 + 1));
    const int64_t multiple = static_cast<int64_t>(random() % kMost) / divisor * divisor;
    for (const int64_t n : {int64_t{0}, divisor - 1, divisor, multiple - 1, multiple, kMost}) {
      if (n >= 0 && n <= kMost) expect_divides(divisor, n);
    }
  }
}

TEST(FastDivisorTest, DividesByTheLargestAndByPowersOfTwo) {
  for (int bit = 0; bit < 31; ++bit) {
    for (const int64_t divisor : {int64_t{1} << bit, (int64_t{1} << bit) + 1, kMost - bit}) {
      if (divisor <= kMost) expect_divides(divisor, kMost), expect_divides(divisor, divisor);
    }
  }
}

}  // namespace
}  // namespace elbo
