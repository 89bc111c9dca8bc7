#include "models/latent_path.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/error.h"

namespace elbo {
namespace {

using Latent = std::vector<float>;

double length(const Latent& z) {
  double squares = 0;
  for (const float value : z) squares += static_cast<double>(value) * value;
  return std::sqrt(squares);
}

TEST(LatentPath, BeginsAndEndsWhereItShould) {
  const Latent a = {1, 2, -3}, b = {0.5f, -1, 4};
  for (const auto between : {linear_between, spherical_between}) {
    const Latent first = between(a, b, 0), last = between(a, b, 1);
    for (size_t d = 0; d < a.size(); ++d) {
      EXPECT_NEAR(first[d], a[d], 1e-6);
      EXPECT_NEAR(last[d], b[d], 1e-6);
    }
  }
  EXPECT_EQ(linear_between(a, b, 0.5), (Latent{0.75f, 0.5f, 0.5f}));
}

TEST(LatentPath, ASphericalOneKeepsTheLength) {
  const Latent a = {3, 0, 0}, b = {0, 0, 3};
  for (const double t : {0.1, 0.25, 0.5, 0.9}) {
    const Latent z = spherical_between(a, b, t);
    EXPECT_NEAR(length(z), 3, 1e-6);
    EXPECT_NEAR(std::atan2(z[2], z[0]), t * M_PI / 2, 1e-6);  // at a constant speed
    EXPECT_LT(length(linear_between(a, b, t)), 2.8);
  }
}

TEST(LatentPath, ASphericalOneIsLinearWhereThereIsNoArc) {
  const Latent a = {1, 2}, twice = {2, 4}, opposite = {-1, -2}, zero = {0, 0};
  for (const Latent& b : {a, twice, opposite, zero}) {
    EXPECT_EQ(spherical_between(a, b, 0.25), linear_between(a, b, 0.25));
  }
  EXPECT_THROW(spherical_between(a, Latent{1}, 0.5), Error);
}

// Golden values are scipy.special.ndtri's.
TEST(LatentPath, InverseNormalCdf) {
  struct Golden {
    double p, x;
  };
  for (const Golden& golden :
       {Golden{1e-300, -37.0470962993612}, Golden{1e-10, -6.361340902404056},
        Golden{0.001, -3.090232306167813}, Golden{0.02425, -1.972961051311885},
        Golden{0.05, -1.6448536269514729}, Golden{0.3, -0.5244005127080409},
        Golden{0.7, 0.5244005127080407}, Golden{0.975, 1.959963984540054},
        Golden{0.9999999999, 6.361340889697422}}) {
    EXPECT_NEAR(inverse_normal_cdf(golden.p), golden.x, 1e-14 * std::abs(golden.x)) << golden.p;
  }
  EXPECT_EQ(inverse_normal_cdf(0.5), 0);
  for (double p = 0.01; p < 1; p += 0.01) {
    EXPECT_NEAR(0.5 * std::erfc(-inverse_normal_cdf(p) / std::sqrt(2.0)), p, 1e-15);
  }
  EXPECT_THROW(inverse_normal_cdf(0), Error);
  EXPECT_THROW(inverse_normal_cdf(1), Error);
}

TEST(LatentPath, DirectionsHaveLengthOneAndNoPreference) {
  constexpr int64_t kDraws = 4000;
  double sum[2] = {0, 0}, squares = 0;
  for (int64_t draw = 0; draw < kDraws; ++draw) {
    const std::vector<double> u = random_direction(2, 9, draw);
    EXPECT_NEAR(u[0] * u[0] + u[1] * u[1], 1, 1e-12);
    sum[0] += u[0];
    sum[1] += u[1];
    squares += u[0] * u[0];
  }
  // Five standard errors: the variance of u_d is 1/2, that of u_d^2 is 1/8.
  EXPECT_NEAR(sum[0] / kDraws, 0, 5 * std::sqrt(0.5 / kDraws));
  EXPECT_NEAR(sum[1] / kDraws, 0, 5 * std::sqrt(0.5 / kDraws));
  EXPECT_NEAR(squares / kDraws, 0.5, 5 * std::sqrt(0.125 / kDraws));
  EXPECT_EQ(random_direction(5, 9, 3), random_direction(5, 9, 3));
  EXPECT_NE(random_direction(5, 9, 3), random_direction(5, 9, 4));
  EXPECT_NE(random_direction(5, 9, 3), random_direction(5, 10, 3));
}

}  // namespace
}  // namespace elbo
