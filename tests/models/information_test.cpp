// The worked numbers of the lectures that this program follows, and closed forms against sampling.
#include "models/information.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "kernels/error.h"

namespace elbo {
namespace {

using Values = std::vector<double>;

// Binomial(2, 0.4) against uniform thirds: the two directions differ.
TEST(Information, KlOfTheLectures) {
  const Values p = {0.36, 0.48, 0.16}, q = {1.0 / 3, 1.0 / 3, 1.0 / 3};
  EXPECT_NEAR(kl_nats(p, q), 0.0852996, 5e-8);
  EXPECT_NEAR(kl_nats(q, p), 0.097455, 5e-7);
  EXPECT_EQ(kl_nats(p, p), 0);
  EXPECT_NEAR(kl_nats(p, q), std::log(3.0) - entropy_nats(p), 1e-15);
}

TEST(Information, OutcomesThatCannotHappen) {
  EXPECT_NEAR(kl_nats(Values{1, 0}, Values{0.5, 0.5}), std::log(2.0), 1e-15);
  EXPECT_TRUE(std::isinf(kl_nats(Values{0.5, 0.5}, Values{1, 0})));
  EXPECT_EQ(entropy_nats(Values{0, 1}), 0);
  EXPECT_NEAR(entropy_nats(Values{0.25, 0.25, 0.25, 0.25}), std::log(4.0), 1e-15);
}

TEST(Information, RefusesWhatIsNoDistribution) {
  EXPECT_THROW(entropy_nats(Values{0.5, 0.6}), Error);
  EXPECT_THROW(entropy_nats(Values{1.5, -0.5}), Error);
  EXPECT_THROW(entropy_nats(Values{}), Error);
  EXPECT_THROW(kl_nats(Values{1}, Values{0.5, 0.5}), Error);
  EXPECT_THROW(gaussian_kl_nats(Values{0}, Values{0}, Values{0}, Values{1}), Error);
  EXPECT_THROW(gaussian_kl_nats(Values{0}, Values{1}, Values{0, 0}, Values{1, 1}), Error);
  EXPECT_THROW(sample_mean(Values{1}), Error);
  EXPECT_THROW(estimate_evidence(Values{0}), Error);
}

struct Gaussian {
  Values mean, variance;
  Values draw(std::mt19937_64& engine) const {
    std::normal_distribution<double> normal;
    Values z;
    for (size_t d = 0; d < mean.size(); ++d) {
      z.push_back(mean[d] + std::sqrt(variance[d]) * normal(engine));
    }
    return z;
  }
  double log_density(const Values& z) const { return gaussian_log_density(z, mean, variance); }
};

TEST(Information, GaussianClosedFormsAgreeWithSampling) {
  const Gaussian p{{0.5, -1, 2}, {0.3, 1.5, 0.01}}, q{{0, 0, 1.9}, {1, 1, 0.02}};
  std::mt19937_64 engine(3);
  Values ratios, surprises;
  for (int i = 0; i < 20000; ++i) {
    const Values z = p.draw(engine);
    ratios.push_back(p.log_density(z) - q.log_density(z));
    surprises.push_back(-p.log_density(z));
  }
  const Estimate kl = sample_mean(ratios), entropy = sample_mean(surprises);
  const double exact = gaussian_kl_nats(p.mean, p.variance, q.mean, q.variance);
  EXPECT_NEAR(kl.value, exact, 4 * kl.standard_error);
  EXPECT_LT(kl.standard_error, 0.02 * exact);
  EXPECT_NEAR(entropy.value, gaussian_entropy_nats(p.variance), 4 * entropy.standard_error);
  EXPECT_EQ(gaussian_kl_nats(p.mean, p.variance, p.mean, p.variance), 0);
}

TEST(Information, StandardErrorsAreThoseOfTheMean) {
  const Estimate estimate = sample_mean(Values{1, 2, 3, 4});
  EXPECT_EQ(estimate.value, 2.5);
  EXPECT_NEAR(estimate.standard_error, std::sqrt(5.0 / 3 / 4), 1e-15);
}

TEST(Information, EvidenceOfGivenWeights) {
  const Values log_weights = {std::log(1.0) - 2000, std::log(3.0) - 2000};  // would underflow
  const EvidenceEstimate estimate = estimate_evidence(log_weights);
  EXPECT_NEAR(estimate.log_evidence, std::log(2.0) - 2000, 1e-12);
  EXPECT_NEAR(estimate.relative_variance, 2.0 / 4, 1e-12);  // variance 2, squared mean 4
  EXPECT_NEAR(estimate.effective_samples, 16.0 / 10, 1e-12);
}

// A linear model whose evidence is known: z ~ N(0, I), x | z ~ N(a z, s^2) in each of D dimensions, so
// x ~ N(0, a^2 + s^2). Three ways to sample it:
//   naive       q = p(z)
//   importance  q wider than the posterior by half
//   exact       q = p(z | x) = N(a x / (a^2 + s^2), s^2 / (a^2 + s^2))
// Naive weights p(x|z) have E w^2 / (E w)^2 = prod N(x; 0, s^2/2 + a^2) / (2 s sqrt(pi)) / N(x; 0,
// a^2 + s^2)^2.
class Evidence {
 public:
  static constexpr size_t kDim = 4;
  static constexpr double kA = 1, kS = 0.3;
  const Values x = {0.4, -1, 0.2, 1.3};

  EvidenceEstimate with(const Gaussian& q, int64_t samples, uint64_t seed) const {
    std::mt19937_64 engine(seed);
    const Gaussian prior{Values(kDim, 0), Values(kDim, 1)};
    Values log_weights;
    for (int64_t i = 0; i < samples; ++i) {
      const Values z = q.draw(engine);
      Values mean = z;
      for (double& m : mean) m *= kA;
      log_weights.push_back(gaussian_log_density(x, mean, Values(kDim, kS * kS)) +
                            prior.log_density(z) - q.log_density(z));
    }
    return estimate_evidence(log_weights);
  }
  Gaussian posterior(double widening) const {
    Gaussian q{x, Values(kDim, widening * kS * kS / (kA * kA + kS * kS))};
    for (double& m : q.mean) m *= kA / (kA * kA + kS * kS);
    return q;
  }
  double exact() const {
    return gaussian_log_density(x, Values(kDim, 0), Values(kDim, kA * kA + kS * kS));
  }
  double naive_relative_variance() const {
    const Values zero(kDim, 0);
    const double log_square = gaussian_log_density(x, zero, Values(kDim, kS * kS / 2 + kA * kA)) -
                              kDim * std::log(2 * kS * std::sqrt(M_PI));
    return std::exp(log_square - 2 * exact()) - 1;
  }
};

TEST(Information, ImportanceSamplingVariesLessThanThePrior) {
  const Evidence model;
  constexpr int64_t kSamples = 20000;
  const Gaussian prior{Values(Evidence::kDim, 0), Values(Evidence::kDim, 1)};
  const EvidenceEstimate naive = model.with(prior, kSamples, 5);
  const EvidenceEstimate wide = model.with(model.posterior(1.5), kSamples, 6);
  const EvidenceEstimate exact = model.with(model.posterior(1), kSamples, 7);
  const auto error = [](const EvidenceEstimate& e) {
    return std::sqrt(e.relative_variance / kSamples);
  };
  EXPECT_NEAR(naive.log_evidence, model.exact(), 4 * error(naive));
  EXPECT_NEAR(wide.log_evidence, model.exact(), 4 * error(wide));
  EXPECT_NEAR(exact.log_evidence, model.exact(), 1e-9);  // all weights are equal
  EXPECT_NEAR(exact.relative_variance, 0, 1e-9);
  EXPECT_NEAR(exact.effective_samples, kSamples, 1e-3);
  // Both variances, as they should be: the naive one is more than a hundred times as large.
  EXPECT_NEAR(naive.relative_variance, model.naive_relative_variance(),
              0.15 * model.naive_relative_variance());
  // Per dimension E w^2 / (E w)^2 = 1.5 / sqrt(2 * 1.5 - 1) for a Gaussian that is 1.5 times as wide.
  EXPECT_NEAR(wide.relative_variance, std::pow(1.5 / std::sqrt(2.0), 4) - 1, 0.02);
  EXPECT_GT(naive.relative_variance, 100 * wide.relative_variance);
}

}  // namespace
}  // namespace elbo
