#include "models/aggregate.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/error.h"

namespace elbo {
namespace {

TEST(LatentMoments, AreThoseOfTheMixture) {
  const std::vector<float> mu = {1, 0, 3, 4};
  const std::vector<float> logvar = {0, std::log(2.0f), std::log(3.0f), 0};
  const LatentMoments moments = latent_moments(mu, logvar, 2);
  EXPECT_EQ(moments.mean, (std::vector<double>{2, 2}));
  EXPECT_NEAR(moments.variance_of(0), 1 + 2, 1e-6);  // of the means, and the mean of the variances
  EXPECT_NEAR(moments.variance_of(1), 4 + 1.5, 1e-6);
  EXPECT_NEAR(moments.covariance[1], 2, 1e-12);
  EXPECT_NEAR(moments.largest_correlation(), 2 / std::sqrt(3 * 5.5), 1e-6);
  // KL of N((2, 2), ((3, 2), (2, 5.5))) to N(0, I).
  EXPECT_NEAR(moments.kl_to_prior_nats(), 0.5 * (8.5 + 8 - 2 - std::log(3 * 5.5 - 4)), 1e-6);
}

TEST(LatentMoments, OfPointsHaveNoVarianceOfTheirOwn) {
  const LatentMoments moments = latent_moments(std::vector<float>{1, 5, 3, 5}, {}, 2);
  EXPECT_EQ(moments.variance_of(0), 1);
  EXPECT_EQ(moments.variance_of(1), 0);
  EXPECT_EQ(moments.largest_correlation(), 0);
  EXPECT_TRUE(std::isinf(moments.kl_to_prior_nats()));
  EXPECT_THROW(latent_moments(std::vector<float>{1, 2, 3}, {}, 2), Error);
  EXPECT_THROW(latent_moments(std::vector<float>{1, 2}, std::vector<float>{1}, 2), Error);
}

TEST(LatentMoments, OfThePriorAreTheDistanceZero) {
  const LatentMoments moments =
      latent_moments(std::vector<float>{0, 0, 0}, std::vector<float>{0, 0, 0}, 3);
  EXPECT_NEAR(moments.kl_to_prior_nats(), 0, 1e-12);
}

}  // namespace
}  // namespace elbo
