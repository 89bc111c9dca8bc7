// The noise streams: distribution, independence across every part of the address, and bits.
#include "kernels/noise.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace elbo {
namespace {

constexpr int64_t kCount = 1 << 20;

struct Stream {
  uint64_t seed = 42;
  NoiseAddress at;
};

ELBO_CLONES void fill_normals(float* out, int64_t quads, NoiseKey key, NoiseAddress at) {
#pragma omp simd
  for (int64_t quad = 0; quad < quads; ++quad) {
    const Four z = normal4(key, at, static_cast<uint32_t>(quad));
    out[4 * quad] = z.v0;
    out[4 * quad + 1] = z.v1;
    out[4 * quad + 2] = z.v2;
    out[4 * quad + 3] = z.v3;
  }
}

std::vector<float> normals(const Stream& s, int64_t count = kCount) {
  std::vector<float> z(static_cast<size_t>(count));
  fill_normals(z.data(), count / 4, NoiseKey{s.seed}, s.at);
  return z;
}

std::vector<float> uniforms(const Stream& s, int64_t count = kCount) {
  std::vector<float> u(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    u[static_cast<size_t>(i)] = uniform1(NoiseKey{s.seed}, s.at, static_cast<uint64_t>(i));
  }
  return u;
}

double correlation(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0.0;
  for (size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum / static_cast<double>(a.size());
}

// Largest distance between the empirical distribution of `values` and `cdf`, times sqrt(n).
double kolmogorov_smirnov(std::vector<float> values, const std::function<double(double)>& cdf) {
  std::sort(values.begin(), values.end());
  const auto n = static_cast<double>(values.size());
  double distance = 0.0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double p = cdf(static_cast<double>(values[i]));
    const auto rank = static_cast<double>(i);
    distance = std::max({distance, (rank + 1.0) / n - p, p - rank / n});
  }
  return distance * std::sqrt(n);
}

constexpr double kKsLimit = 1.95;  // exceeded by chance once in 1000 seeds; the seed is fixed

double normal_cdf(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

TEST(NormalNoise, HasTheMomentsOfTheStandardNormal) {
  double moments[7] = {};
  for (const float z : normals({})) {
    double power = 1.0;
    for (double& m : moments) {
      m += power / kCount;
      power *= z;
    }
  }
  // Five standard errors: sqrt(Var(z^k) / n), Var = 1, 2, 15, 96, 945, 10170.
  const double expected[] = {1, 0, 1, 0, 3, 0, 15};
  const double variance[] = {0, 1, 2, 15, 96, 945, 10170};
  for (int k = 1; k <= 6; ++k) {
    EXPECT_NEAR(moments[k], expected[k], 5.0 * std::sqrt(variance[k] / kCount)) << "moment " << k;
  }
}

TEST(NormalNoise, PassesKolmogorovSmirnov) {
  for (const uint64_t seed : {0u, 1u, 42u}) {
    EXPECT_LT(kolmogorov_smirnov(normals({seed, {}}), normal_cdf), kKsLimit) << "seed " << seed;
  }
}

// The classic mistake of drawing U(0,1) in place of N(0,1) must not pass the tests above.
TEST(NormalNoise, KolmogorovSmirnovRefusesUniforms) {
  EXPECT_GT(kolmogorov_smirnov(uniforms({}), normal_cdf), 100.0);
}

TEST(NormalNoise, HasTheRightTails) {
  for (const double limit : {2.0, 3.0, 4.0}) {
    int64_t beyond = 0;
    for (const float z : normals({})) beyond += std::fabs(z) > limit ? 1 : 0;
    const double expected = kCount * 2.0 * normal_cdf(-limit);
    EXPECT_NEAR(static_cast<double>(beyond), expected, 5.0 * std::sqrt(expected)) << limit;
  }
}

TEST(NormalNoise, IsFiniteAtTheExtremesOfItsBits) {
  for (const uint32_t radius : {0u, 1u, 2u, 0x7fffffffu, 0x80000000u, 0xfffffffeu, 0xffffffffu}) {
    for (const uint32_t angle : {0u, 1u, 0x7fffffffu, 0x80000000u, 0xffffffffu}) {
      const NormalPair pair = normals_from_bits(radius, angle);
      EXPECT_LE(std::fabs(pair.first), 6.67f);
      EXPECT_LE(std::fabs(pair.second), 6.67f);
    }
  }
}

TEST(NormalNoise, FollowsBoxMullerInDouble) {
  for (uint32_t i = 0; i < 100000; ++i) {
    const PhiloxCounter bits = noise_bits(NoiseKey{3}, {}, i);
    const double u = (static_cast<double>(bits.c0 >> 1) + 0.5) * 0x1p-31;
    const double turn = static_cast<double>(static_cast<int32_t>(bits.c1)) * 0x1p-32;
    const double radius = std::sqrt(-2.0 * std::log(u));
    const NormalPair pair = normals_from_bits(bits.c0, bits.c1);
    // u is rounded to a float: near u = 1, log u and so the radius inherit 2^-25 absolutely.
    ASSERT_NEAR(pair.first, radius * std::cos(2 * M_PI * turn), 3e-4 / (1 + 100 * radius) + 2e-6);
    ASSERT_NEAR(pair.second, radius * std::sin(2 * M_PI * turn), 3e-4 / (1 + 100 * radius) + 2e-6);
  }
}

TEST(NormalNoise, OneAtATimeIsTheSameNumber) {
  const NoiseAddress at{NoisePurpose::prior, 9, 1234, 5};
  for (uint32_t quad = 0; quad < 300; ++quad) {
    const Four z = normal4(NoiseKey{77}, at, quad);
    const Four u = uniform4(NoiseKey{77}, at, quad);
    for (uint32_t lane = 0; lane < 4; ++lane) {
      EXPECT_EQ(normal1(NoiseKey{77}, at, 4 * quad + lane), lane_of(z, lane));
      EXPECT_EQ(uniform1(NoiseKey{77}, at, 4 * quad + lane), lane_of(u, lane));
    }
  }
}

TEST(NormalNoise, GivesTheSameBitsVectorisedAndOneAtATime) {
  const std::vector<float> z = normals({}, 4000);
  for (uint32_t i = 0; i < 4000; ++i) {
    EXPECT_EQ(math::bits_of(z[i]), math::bits_of(normal1(NoiseKey{42}, {}, i))) << i;
  }
}

TEST(UniformNoise, PassesKolmogorovSmirnovAndStaysBelowOne) {
  const std::vector<float> u = uniforms({});
  EXPECT_LT(kolmogorov_smirnov(u, [](double x) { return x; }), kKsLimit);
  EXPECT_GE(*std::min_element(u.begin(), u.end()), 0.0f);
  EXPECT_LT(*std::max_element(u.begin(), u.end()), 1.0f);
  EXPECT_EQ(uniform_from_bits(0), 0.0f);
  EXPECT_LT(uniform_from_bits(0xffffffffu), 1.0f);
}

// Each part of the address, changed by the smallest step, must give unrelated numbers.
struct Neighbour {
  std::string what;
  Stream stream;
};

std::vector<Neighbour> neighbours() {
  std::vector<Neighbour> all = {
      {"base", {}},
      {"seed low", {43, {}}},
      {"seed high", {42 + (uint64_t{1} << 32), {}}},
      {"purpose", {42, {NoisePurpose::binarise, 0, 0, 0}}},
      {"step", {42, {NoisePurpose::latent, 1, 0, 0}}},
      {"step beyond 32 bits", {42, {NoisePurpose::latent, uint64_t{1} << 32, 0, 0}}},
      {"sample", {42, {NoisePurpose::latent, 0, 1, 0}}},
      {"draw", {42, {NoisePurpose::latent, 0, 0, 1}}},
      {"last draw", {42, {NoisePurpose::latent, 0, 0, 0xffff}}},
  };
  return all;
}

TEST(NoiseStreams, AreUncorrelatedAcrossEveryPartOfTheAddress) {
  const std::vector<Neighbour> all = neighbours();
  std::vector<std::vector<float>> values;
  for (const Neighbour& n : all) values.push_back(normals(n.stream, 1 << 18));
  const double limit = 5.0 / std::sqrt(1 << 18);  // five standard errors; 36 pairs
  for (size_t a = 0; a < all.size(); ++a) {
    for (size_t b = a + 1; b < all.size(); ++b) {
      EXPECT_LT(std::fabs(correlation(values[a], values[b])), limit)
          << all[a].what << " against " << all[b].what;
    }
  }
}

TEST(NoiseStreams, AreUncorrelatedFromDimensionToDimension) {
  const std::vector<float> z = normals({});
  for (const size_t lag : {1u, 2u, 3u, 4u, 20u, 784u}) {
    double linear = 0.0, square = 0.0;
    for (size_t i = 0; i + lag < z.size(); ++i) {
      const double a = z[i], b = z[i + lag];
      linear += a * b;
      square += (a * a - 1.0) * (b * b - 1.0);
    }
    EXPECT_LT(std::fabs(linear), 5.0 * std::sqrt(1.0 * kCount)) << "lag " << lag;
    EXPECT_LT(std::fabs(square), 5.0 * 2.0 * std::sqrt(1.0 * kCount)) << "squares, lag " << lag;
  }
}

// A batch cut differently, or an evaluation in another order, must see the same noise.
TEST(NoiseStreams, DependOnTheAddressOnly) {
  EXPECT_EQ(normal1(NoiseKey{1}, {NoisePurpose::latent, 3, 99, 2}, 7),
            normal1(NoiseKey{1}, {NoisePurpose::latent, 3, 99, 2}, 7));
  EXPECT_NE(normal1(NoiseKey{1}, {NoisePurpose::latent, 3, 99, 2}, 7),
            normal1(NoiseKey{1}, {NoisePurpose::latent, 3, 98, 2}, 7));
}

// The layout is part of every checkpoint's meaning: these are the documented counter words.
TEST(NoiseStreams, UseTheDocumentedCounterLayout) {
  const NoiseAddress at{NoisePurpose::shuffle, (uint64_t{0xab} << 32) | 0x12345678u, 0xdeadbeefu,
                        0x4321};
  const PhiloxCounter got = noise_bits(NoiseKey{0x1111222233334444u}, at, 17);
  const PhiloxCounter expected =
      philox4x32({17, 0xdeadbeefu, 0x12345678u, 0x04ab4321u}, {0x33334444u, 0x11112222u});
  EXPECT_EQ(got.c0, expected.c0);
  EXPECT_EQ(got.c1, expected.c1);
  EXPECT_EQ(got.c2, expected.c2);
  EXPECT_EQ(got.c3, expected.c3);
}

}  // namespace
}  // namespace elbo
