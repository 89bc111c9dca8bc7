// The kernels that objectives are put together from, against the same sums written out in double. Gradients:
// objective_gradients_test.cpp.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/contractive.h"
#include "kernels/gaussian_density.h"
#include "kernels/latent_moments.h"
#include "kernels/loss_terms.h"
#include "kernels/mmd.h"
#include "tests/support/device.h"
#include "tests/support/values.h"

namespace elbo {
namespace {

constexpr double kError =
    3e-6;  // relative to the magnitude of the terms: some dozen fp32 roundings

class ObjectiveTerms : public DeviceTest {
 protected:
  static double log_normal(double z, double mu, double logvar) {
    const double error = z - mu;
    return -0.5 * (std::log(2 * M_PI) + logvar + error * error / std::exp(logvar));
  }

  // [mu | logvar] of `rows` components.
  struct Latents {
    int64_t rows, components, dim;
    std::vector<float> z, stats;

    Latents(int64_t rows, int64_t components, int64_t dim)
        : rows(rows),
          components(components),
          dim(dim),
          z(random_values<float>(rows * dim, 1)),
          stats(random_values<float>(components * 2 * dim, 2)) {}
    double log_density(int64_t row, int64_t k, int64_t d) const {
      const auto at = static_cast<size_t>(k * 2 * dim + d);
      return log_normal(z[static_cast<size_t>(row * dim + d)], stats[at],
                        stats[at + static_cast<size_t>(dim)]);
    }
  };

  static GaussianDensity<float> arguments(const Latents& latents, const DeviceBuffer<float>& z,
                                          const DeviceBuffer<float>& stats) {
    GaussianDensity<float> args;
    args.z = z.data();
    args.mu = stats.data();
    args.logvar = stats.data() + latents.dim;
    args.stride = 2 * latents.dim;
    args.batch = latents.rows;
    args.dim = latents.dim;
    return args;
  }
};

TEST_P(ObjectiveTerms, OwnDensityIsTheSumOverDimensions) {
  for (const int64_t dim : {1, 3, 33}) {
    const Latents latents(5, 5, dim);
    DeviceBuffer<float> z(device(), latents.z), stats(device(), latents.stats), y(device(), 5);
    gaussian_density_forward(exec(), arguments(latents, z, stats), y.data());
    const auto got = y.download();
    for (int64_t row = 0; row < 5; ++row) {
      double want = 0;
      for (int64_t d = 0; d < dim; ++d) want += latents.log_density(row, row, d);
      EXPECT_NEAR(got[static_cast<size_t>(row)], want, kError * (1 + std::abs(want))) << dim;
    }
  }
}

TEST_P(ObjectiveTerms, PriorDensityIsThatOfTheStandardNormal) {
  const std::vector<float> values = {0.0f, 1.0f, -3.0f, 6.0f};
  DeviceBuffer<float> z(device(), values), y(device(), 2);
  GaussianDensity<float> args;
  args.z = z.data();
  args.batch = args.dim = 2;
  gaussian_density_forward(exec(), args, y.data());
  const auto got = y.download();
  EXPECT_NEAR(got[0], log_normal(0, 0, 0) + log_normal(1, 0, 0), 1e-5);
  EXPECT_NEAR(got[1], log_normal(-3, 0, 0) + log_normal(6, 0, 0), 1e-5);
}

TEST_P(ObjectiveTerms, PairwiseDensityCarriesTheStratifiedWeights) {
  constexpr int64_t kDim = 3, kSamples = 40;
  for (const int64_t batch : {1, 2, 5, 40}) {
    const Latents latents(batch, batch, kDim);
    const double n = kSamples, m = static_cast<double>(batch - 1);
    for (const bool per_dimension : {false, true}) {
      DeviceBuffer<float> z(device(), latents.z), stats(device(), latents.stats);
      DeviceBuffer<float> s(device(),
                            static_cast<size_t>(batch * batch * (per_dimension ? kDim : 1)));
      PairwiseDensity<float> args{arguments(latents, z, stats), batch, per_dimension,
                                  PairWeights::stratified(batch, kSamples)};
      pairwise_density_forward(exec(), args, s.data());
      const auto got = s.download();
      for (int64_t row = 0; row < batch; ++row) {
        for (int64_t k = 0; k < batch; ++k) {
          const double share = batch == 1               ? 1
                               : k == row               ? 1 / n
                               : k == (row + 1) % batch ? (n - m) / (n * m)
                                                        : 1 / m;
          double sum = std::log(share);
          for (int64_t d = 0; d < kDim; ++d) {
            const double term = latents.log_density(row, k, d);
            sum += term;
            if (!per_dimension) continue;
            const double want = std::log(share) + term;
            EXPECT_NEAR(got[static_cast<size_t>((row * kDim + d) * batch + k)], want,
                        kError * (1 + std::abs(want)));
          }
          if (per_dimension) continue;
          EXPECT_NEAR(got[static_cast<size_t>(row * batch + k)], sum, kError * (1 + std::abs(sum)))
              << "batch " << batch << ", row " << row << ", component " << k;
        }
      }
    }
  }
}

TEST_P(ObjectiveTerms, MomentsOfABatch) {
  constexpr int64_t kBatch = 7, kDim = 4;
  const Latents latents(kBatch, kBatch, kDim);
  DeviceBuffer<float> stats(device(), latents.stats), kl(device(), kDim), mean(device(), kDim);
  const auto mu = [&](int64_t b, int64_t d) {
    return double{latents.stats[static_cast<size_t>(b * 2 * kDim + d)]};
  };
  const auto logvar = [&](int64_t b, int64_t d) { return mu(b, d + kDim); };
  LatentStats<float> args{stats.data(), stats.data() + kDim, 2 * kDim, kBatch, kDim};
  mean_kl_forward(exec(), args, kl.data());
  const auto got_kl = kl.download();
  for (const bool samples : {false, true}) {
    DeviceBuffer<float> c(device(), kDim * kDim);
    LatentStats<float> of = args;
    if (!samples) of.logvar = nullptr;
    covariance_forward(exec(), of, mean.data(), c.data());
    const auto got = c.download();
    for (int64_t i = 0; i < kDim; ++i) {
      double nats = 0;
      for (int64_t b = 0; b < kBatch; ++b) {
        nats += 0.5 * (mu(b, i) * mu(b, i) + std::exp(logvar(b, i)) - 1 - logvar(b, i)) / kBatch;
      }
      EXPECT_NEAR(got_kl[static_cast<size_t>(i)], nats, kError * (1 + nats));
      for (int64_t j = 0; j < kDim; ++j) {
        double both = 0, mean_i = 0, mean_j = 0, variance = 0;
        for (int64_t b = 0; b < kBatch; ++b) {
          both += mu(b, i) * mu(b, j) / kBatch;
          mean_i += mu(b, i) / kBatch;
          mean_j += mu(b, j) / kBatch;
          variance += std::exp(logvar(b, i)) / kBatch;
        }
        const double want = both - mean_i * mean_j + (samples && i == j ? variance : 0);
        EXPECT_NEAR(got[static_cast<size_t>(i * kDim + j)], want, kError * 4);
      }
    }
  }
}

// Means far from zero cost no accuracy: all numbers here are exact, but not the products of a sum with a mean.
TEST_P(ObjectiveTerms, CovarianceSubtractsTheMeanFirst) {
  constexpr float kFar = 1 << 23;
  DeviceBuffer<float> mu(device(), {kFar - 2, kFar + 4}), mean(device(), 1), c(device(), 1);
  covariance_forward(exec(), LatentStats<float>{mu.data(), nullptr, 1, 2, 1}, mean.data(),
                     c.data());
  EXPECT_EQ(mean.download()[0], kFar + 1);
  EXPECT_EQ(c.download()[0], 9.0f);
}

TEST_P(ObjectiveTerms, MeanDiscrepancyIsTheUnbiasedEstimate) {
  for (const int64_t batch : {2, 3, 9}) {
    constexpr int64_t kDim = 2;
    const auto z = random_values<float>(batch * kDim, 3), p = random_values<float>(batch * kDim, 4);
    const auto kernel = [&](const std::vector<float>& a, int64_t i, const std::vector<float>& b,
                            int64_t j) {
      double squared = 0, sum = 0;
      for (int64_t d = 0; d < kDim; ++d) {
        const double difference = double{a[static_cast<size_t>(i * kDim + d)]} -
                                  double{b[static_cast<size_t>(j * kDim + d)]};
        squared += difference * difference;
      }
      for (const double s : {0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0}) {
        sum += 2 * kDim * s / (2 * kDim * s + squared);
      }
      return sum;
    };
    double want = 0;
    const auto n = static_cast<double>(batch);
    for (int64_t i = 0; i < batch; ++i) {
      for (int64_t j = 0; j < batch; ++j) {
        if (i != j) want += (kernel(z, i, z, j) + kernel(p, i, p, j)) / (n * (n - 1));
        want -= 2 * kernel(z, i, p, j) / (n * n);
      }
    }
    DeviceBuffer<float> dz(device(), z), dp(device(), p), y(device(), 1);
    DeviceBuffer<float> parts(device(), static_cast<size_t>(batch));
    mmd_forward(exec(), batch, kDim, dz.data(), dp.data(), parts.data(), y.data());
    EXPECT_NEAR(y.download()[0], want, 20 * kError);  // differences of sums of about 14
  }
}

TEST_P(ObjectiveTerms, MeanDiscrepancyOfOneSampleIsZero) {
  DeviceBuffer<float> z(device(), std::vector<float>{5.0f}), p(device(), std::vector<float>{0.0f}),
      parts(device(), 1), y(device(), 1);
  mmd_forward(exec(), 1, 1, z.data(), p.data(), parts.data(), y.data());
  EXPECT_EQ(y.download()[0], 0.0f);
}

TEST_P(ObjectiveTerms, SmallFunctions) {
  const std::vector<float> x = {-2.0f, -0.5f, 0.0f, 0.5f, 3.0f};
  DeviceBuffer<float> in(device(), x), out(device(), x.size()),
      target(device(), std::vector<float>{0.5f});
  at_least_forward(exec(), 5, in.data(), 0.25f, out.data());
  EXPECT_EQ(out.download(), (std::vector<float>{0.25f, 0.25f, 0.25f, 0.5f, 3.0f}));
  distance_forward(exec(), 5, in.data(), target.data(), out.data());
  EXPECT_EQ(out.download(), (std::vector<float>{2.5f, 1.0f, 0.5f, 0.0f, 2.5f}));
  shift(exec(), 5, in.data(), 1.5, out.data());
  EXPECT_EQ(out.download(), (std::vector<float>{-0.5f, 1.0f, 1.5f, 2.0f, 4.5f}));
  DeviceBuffer<float> sum(device(), 1), weight(device(), {1.0f, 2.0f, 4.0f, 8.0f, 16.0f});
  weighted_sum(exec(), 5, in.data(), {weight.data(), 1, 0.5f}, sum.data());
  EXPECT_EQ(sum.download()[0], 0.5f * (-2 - 1 + 0 + 4 + 48));
}

TEST_P(ObjectiveTerms, SparsityIsZeroAtItsTargetAndFiniteAtTheEdges) {
  const std::vector<float> x = {0.1f, 0.5f, 0.0f, 1.0f};
  DeviceBuffer<float> in(device(), x), out(device(), 4);
  bernoulli_kl_forward(exec(), 4, 0.1f, in.data(), out.data());
  const auto got = out.download();
  EXPECT_NEAR(got[0], 0.0, 1e-7);
  EXPECT_NEAR(got[1], 0.1 * std::log(0.1 / 0.5) + 0.9 * std::log(0.9 / 0.5), 1e-6);
  EXPECT_NEAR(got[2], 0.1 * std::log(0.1 / 1e-6) + 0.9 * std::log(0.9 / (1 - 1e-6)), 1e-5);
  EXPECT_NEAR(got[3], 0.1 * std::log(0.1) + 0.9 * std::log(0.9 / 1e-6), 0.1);  // 1 - 1e-6 in fp32
}

TEST_P(ObjectiveTerms, PenaltyOfACovariance) {
  DeviceBuffer<float> c(device(), {1.5f, 0.25f, -0.5f, 0.0f}), y(device(), 1);
  dip_penalty_forward(exec(), 2, c.data(), {2.0f, 8.0f}, y.data());
  EXPECT_EQ(y.download()[0], 2.0f * (0.0625f + 0.25f) + 8.0f * (0.25f + 1.0f));
}

TEST_P(ObjectiveTerms, JacobianOfOneLayer) {
  // y = tanh(W x) at y = (0, 0.5): slopes 1 and 0.75; rows of W have squared lengths 25 and 4.
  DeviceBuffer<float> y(device(), {0.0f, 0.5f}), slope(device(), 2), norms(device(), 2);
  DeviceBuffer<float> weight(device(), {3.0f, 4.0f, 0.0f, 2.0f}), norm(device(), 1);
  activation_slope_forward(exec(), 2, Activation::tanh, y.data(), slope.data());
  jacobian_norm_forward(exec(), {slope.data(), weight.data(), norms.data(), 1, 2, 2}, norm.data());
  EXPECT_FLOAT_EQ(norm.download()[0], 25.0f + 0.75f * 0.75f * 4.0f);
}

TEST_P(ObjectiveTerms, JacobianOfOneLayerBackward) {
  // Two rows, slopes (1, 0.75) and (0.5, 2); W = ((3, 4), (0, 2)): rows of squared length 25 and 4.
  DeviceBuffer<float> slope(device(), {1.0f, 0.75f, 0.5f, 2.0f}), norms(device(), 2);
  DeviceBuffer<float> weight(device(), {3.0f, 4.0f, 0.0f, 2.0f}), norm(device(), 2);
  const JacobianNorm<float> args{slope.data(), weight.data(), norms.data(), 2, 2, 2};
  jacobian_norm_forward(exec(), args, norm.data());
  DeviceBuffer<float> dnorm(device(), {2.0f, -1.0f}), sums(device(), 2), dslope(device(), 4);
  DeviceBuffer<float> dweight(device(), {1.0f, 1.0f, 1.0f, 1.0f});
  jacobian_norm_backward(exec(), args, dnorm.data(), sums.data(), dslope.data(), GradMode::write,
                         dweight.data(), GradMode::add);
  EXPECT_EQ(dslope.download(), (std::vector<float>{100.0f, 12.0f, -25.0f, -16.0f}));
  const float first = 2 * 1.0f - 0.25f, second = 2 * 0.5625f - 4.0f;  // sum of slope^2 dnorm
  EXPECT_EQ(dweight.download(),
            (std::vector<float>{1 + 6 * first, 1 + 8 * first, 1.0f, 1 + 4 * second}));
}

INSTANTIATE_TEST_SUITE_P(Devices, ObjectiveTerms, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
