// The keyed bijection: it is one, it depends on its key, and it leaves no structure.
#include "kernels/shuffle.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <set>
#include <vector>

namespace elbo {
namespace {

std::vector<uint64_t> permutation(uint64_t n, const ShuffleKey& key) {
  std::vector<uint64_t> p(n);
  for (uint64_t i = 0; i < n; ++i) p[i] = shuffled_index(i, n, key);
  return p;
}

bool is_bijective(const std::vector<uint64_t>& p) {
  std::vector<bool> seen(p.size());
  for (const uint64_t x : p) {
    if (x >= p.size() || seen[x]) return false;
    seen[x] = true;
  }
  return true;
}

TEST(ShuffledIndex, IsABijectionForEverySmallSize) {
  for (uint64_t n = 1; n <= 2000; ++n) {
    ASSERT_TRUE(is_bijective(permutation(n, shuffle_key(1, n)))) << n;
  }
}

TEST(ShuffledIndex, IsABijectionForBigSizes) {
  for (const uint64_t n : {60000u, 65535u, 65536u, 65537u, 737280u, 1048577u}) {
    ASSERT_TRUE(is_bijective(permutation(n, shuffle_key(2, 0)))) << n;
  }
}

TEST(ShuffledIndex, StaysInRangeUpToTwoToThe32) {
  const uint64_t n = uint64_t{1} << 32;
  const ShuffleKey key = shuffle_key(3, 0);
  std::set<uint64_t> seen;
  for (uint64_t i = n - 1000; i < n; ++i) seen.insert(shuffled_index(i, n, key));
  EXPECT_EQ(seen.size(), 1000u);
  EXPECT_LT(*seen.rbegin(), n);
  EXPECT_GT(*seen.rbegin(), n / 2);  // the top bit is used
  EXPECT_LT(shuffled_index(n - 2, n - 1, key), n - 1);
}

TEST(ShuffledIndex, DependsOnSeedAndEpoch) {
  const uint64_t n = 1000;
  const std::vector<uint64_t> base = permutation(n, shuffle_key(1, 0));
  EXPECT_EQ(base, permutation(n, shuffle_key(1, 0)));
  for (const ShuffleKey& other :
       {shuffle_key(1, 1), shuffle_key(2, 0), shuffle_key(1, uint64_t{1} << 32)}) {
    const std::vector<uint64_t> p = permutation(n, other);
    int same = 0;
    for (uint64_t i = 0; i < n; ++i) same += p[i] == base[i] ? 1 : 0;
    EXPECT_LE(same, 7);  // Poisson with mean 1: 8 or more once in 1e5
  }
}

// chi^2 / degrees of freedom of counts that should all equal `expected`.
double reduced_chi_square(const std::vector<int>& counts, double expected) {
  double sum = 0.0;
  for (const int c : counts) sum += (c - expected) * (c - expected) / expected;
  return sum / static_cast<double>(counts.size() - 1);
}

// Over many epochs each index must reach each position equally often. Small n are the hard ones: a
// Feistel network of a few bits has little room. chi^2/dof has deviation sqrt(2/dof).
TEST(ShuffledIndex, SendsEveryIndexEverywhereEquallyOften) {
  constexpr int kEpochs = 20000;
  for (const uint64_t n : {3u, 5u, 8u, 13u, 32u, 100u}) {
    std::vector<int> counts(n * n);
    for (int epoch = 0; epoch < kEpochs; ++epoch) {
      const ShuffleKey key = shuffle_key(5, static_cast<uint64_t>(epoch));
      for (uint64_t i = 0; i < n; ++i) ++counts[i * n + shuffled_index(i, n, key)];
    }
    const double dof = static_cast<double>((n - 1) * (n - 1));
    EXPECT_NEAR(reduced_chi_square(counts, kEpochs / static_cast<double>(n)) *
                    static_cast<double>(n * n - 1) / dof,
                1.0, 5.0 * std::sqrt(2.0 / dof))
        << n;
  }
}

// Pairs of neighbours must land at every distance equally often: no pair stays together.
TEST(ShuffledIndex, SeparatesNeighboursUniformly) {
  constexpr int kEpochs = 2000;
  const uint64_t n = 101;
  std::vector<int> counts(n - 1);
  for (int epoch = 0; epoch < kEpochs; ++epoch) {
    const std::vector<uint64_t> p = permutation(n, shuffle_key(6, static_cast<uint64_t>(epoch)));
    for (uint64_t i = 0; i + 1 < n; ++i) ++counts[(p[i + 1] + n - p[i]) % n - 1];
  }
  EXPECT_NEAR(reduced_chi_square(counts, kEpochs), 1.0, 5.0 * std::sqrt(2.0 / (n - 2)));
}

TEST(ShuffledIndex, IsUncorrelatedWithTheIndex) {
  for (const uint64_t n : {1000u, 60000u, 65536u}) {
    for (const uint64_t epoch : {0u, 1u, 2u}) {
      const std::vector<uint64_t> p = permutation(n, shuffle_key(7, epoch));
      const double middle = (static_cast<double>(n) - 1.0) / 2.0;
      double own = 0.0, next = 0.0, norm = 0.0;
      for (uint64_t i = 0; i < n; ++i) {
        const double x = static_cast<double>(p[i]) - middle;
        own += x * (static_cast<double>(i) - middle);
        next += x * (static_cast<double>(p[(i + 1) % n]) - middle);
        norm += x * x;
      }
      const double limit = 5.0 / std::sqrt(static_cast<double>(n));
      EXPECT_LT(std::fabs(own / norm), limit) << n << " epoch " << epoch;
      EXPECT_LT(std::fabs(next / norm), limit) << n << " epoch " << epoch;
    }
  }
}

// Cycle walking: just above a power of two nearly half of the images are thrown away, never more.
TEST(ShuffledIndex, WalksFewerThanTwoImagesOnAverage) {
  for (const uint64_t n : {33u, 1025u, 65537u}) {
    const ShuffleKey key = shuffle_key(8, 0);
    const int bits = detail::bits_to_index(n);
    uint64_t images = 0;
    for (uint64_t i = 0; i < n; ++i) {
      uint32_t x = static_cast<uint32_t>(i);
      do {
        x = detail::feistel(x, bits, key);
        ++images;
      } while (x >= n);
    }
    EXPECT_LE(images, 2 * n) << n;
  }
}

}  // namespace
}  // namespace elbo
