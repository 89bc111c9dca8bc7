// Philox against the known answers published with Random123, and against Random123 itself.
#include "kernels/philox.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <vector>

#include "kernels/portability.h"

#if __has_include(<Random123/philox.h>)
#include <Random123/philox.h>
#undef philox4x32  // its macro for the C interface has our function's name
#define ELBO_HAS_RANDOM123 1
#endif

namespace elbo {
namespace {

struct KnownAnswer {
  PhiloxCounter counter;
  PhiloxKey key;
  PhiloxCounter output;
};

// Random123 1.09, tests/kat_vectors, "philox4x32 10".
const KnownAnswer kKnownAnswers[] = {
    {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
    {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
     {0xffffffff, 0xffffffff},
     {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
    {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
     {0xa4093822, 0x299f31d0},
     {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
};

void expect_equal(const PhiloxCounter& got, const PhiloxCounter& expected) {
  EXPECT_EQ(got.c0, expected.c0);
  EXPECT_EQ(got.c1, expected.c1);
  EXPECT_EQ(got.c2, expected.c2);
  EXPECT_EQ(got.c3, expected.c3);
}

TEST(Philox, GivesThePublishedKnownAnswers) {
  for (const KnownAnswer& k : kKnownAnswers) expect_equal(philox4x32(k.counter, k.key), k.output);
}

#ifdef ELBO_HAS_RANDOM123
TEST(Philox, IsRandom123BitForBit) {
  r123::Philox4x32 reference;
  PhiloxCounter c{1, 2, 3, 4};
  PhiloxKey k{5, 6};
  for (int i = 0; i < 100000; ++i) {
    const r123::Philox4x32::ctr_type counter = {{c.c0, c.c1, c.c2, c.c3}};
    const r123::Philox4x32::key_type key = {{k.k0, k.k1}};
    const r123::Philox4x32::ctr_type expected = reference(counter, key);
    const PhiloxCounter got = philox4x32(c, k);
    ASSERT_TRUE(got.c0 == expected[0] && got.c1 == expected[1] && got.c2 == expected[2] &&
                got.c3 == expected[3])
        << "call " << i;
    k = {got.c0, c.c1};  // walk through unrelated keys and counters
    c = got;
  }
}
#endif

ELBO_CLONES void fill(uint32_t* out, int64_t calls, PhiloxKey key) {
#pragma omp simd
  for (int64_t i = 0; i < calls; ++i) {
    const PhiloxCounter bits = philox4x32({static_cast<uint32_t>(i), 0, 0, 0}, key);
    out[4 * i] = bits.c0;
    out[4 * i + 1] = bits.c1;
    out[4 * i + 2] = bits.c2;
    out[4 * i + 3] = bits.c3;
  }
}

TEST(Philox, GivesTheSameBitsVectorisedAndOneAtATime) {
  constexpr int64_t kCalls = 1001;
  std::vector<uint32_t> bits(4 * kCalls);
  fill(bits.data(), kCalls, {7, 8});
  for (uint32_t i = 0; i < kCalls; ++i) {
    const uint32_t* at = &bits[size_t{4} * i];
    expect_equal({at[0], at[1], at[2], at[3]}, philox4x32({i, 0, 0, 0}, {7, 8}));
  }
}

// Every input bit should flip each output bit half the time: 192 * 128 counts of 400 trials with
// standard deviation 10. Six deviations are passed by chance in one of 20 000 runs.
TEST(Philox, FlipsHalfOfTheOutputForEveryInputBit) {
  constexpr int kTrials = 400;
  std::vector<int> flips(192 * 128);
  PhiloxCounter c{11, 12, 13, 14};
  PhiloxKey k{15, 16};
  for (int trial = 0; trial < kTrials; ++trial) {
    const PhiloxCounter base = philox4x32(c, k);
    for (int bit = 0; bit < 192; ++bit) {
      uint32_t words[6] = {c.c0, c.c1, c.c2, c.c3, k.k0, k.k1};
      words[bit / 32] ^= 1u << (bit % 32);
      const PhiloxCounter other =
          philox4x32({words[0], words[1], words[2], words[3]}, {words[4], words[5]});
      const uint32_t changed[4] = {base.c0 ^ other.c0, base.c1 ^ other.c1, base.c2 ^ other.c2,
                                   base.c3 ^ other.c3};
      for (int out = 0; out < 128; ++out) {
        flips[bit * 128 + out] += (changed[out / 32] >> (out % 32)) & 1u;
      }
    }
    k = {base.c0, base.c3};
    c = base;
  }
  for (const int count : flips) EXPECT_NEAR(count, kTrials / 2, 60);
}

}  // namespace
}  // namespace elbo
