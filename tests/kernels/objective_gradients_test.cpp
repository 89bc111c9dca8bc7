// Gradients of the kernels that objectives are put together from, against differences in double of what they
// compute, written out here. Rows have strides, gradients are written and added to.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "kernels/contractive.h"
#include "kernels/formulas.h"
#include "kernels/gaussian_density.h"
#include "kernels/latent_moments.h"
#include "kernels/loss_terms.h"
#include "kernels/mmd.h"
#include "tests/support/device.h"
#include "tests/support/values.h"

namespace elbo {
namespace {

using Values = std::vector<double>;
using Function = std::function<double(const Values&)>;

Values wide(const std::vector<float>& values) { return {values.begin(), values.end()}; }

// By differences of the fourth order.
Values gradient_of(const Function& f, Values x) {
  constexpr double h = 1e-3;
  Values gradient;
  for (double& value : x) {
    const double at = value;
    const auto shifted = [&](double by) {
      value = at + by * h;
      return f(x);
    };
    gradient.push_back((8 * (shifted(1) - shifted(-1)) - (shifted(2) - shifted(-2))) / (12 * h));
    value = at;
  }
  return gradient;
}

double log_normal(double z, double mu, double raw) {
  const double v = formulas::bounded_logvar(raw);
  return -0.5 * (std::log(2 * M_PI) + v + (z - mu) * (z - mu) / std::exp(v));
}

// [mu | gap | logvar] of a number of rows, the gap untouched.
struct Posteriors {
  int64_t rows, dim;
  int64_t stride = 2 * dim + 1;
  std::vector<float> values = random_values(rows * stride, 7, -1.5, 1.5);

  static int64_t v_at(int64_t dim) { return dim + 1; }
  double mu(const Values& x, int64_t row, int64_t d) const { return x[row * stride + d]; }
  double raw(const Values& x, int64_t row, int64_t d) const {
    return x[row * stride + v_at(dim) + d];
  }
};

class ObjectiveGradients : public DeviceTest {
 protected:
  // `run` puts a gradient into a buffer. What it leaves alone must be where `want` is NaN.
  void expect_gradient(const Values& want, const std::function<void(float*, GradMode)>& run,
                       const std::string& what) {
    for (const GradMode mode : {GradMode::write, GradMode::add}) {
      std::vector<float> before = random_values(std::ssize(want), 77);
      DeviceBuffer<float> out(device(), before);
      run(out.data(), mode);
      const std::vector<float> got = out.download();
      for (size_t i = 0; i < want.size(); ++i) {
        const bool untouched = std::isnan(want[i]);
        const double expected =
            (mode == GradMode::add || untouched ? before[i] : 0.0) + (untouched ? 0.0 : want[i]);
        EXPECT_NEAR(got[i], expected, 2e-5 * (1 + std::abs(expected)))
            << what << ", element " << i << (mode == GradMode::add ? ", added" : "");
      }
    }
  }

  // Of [mu | gap | logvar]; the gap stays as it is.
  static Values with_gap(Values gradient, const Posteriors& p) {
    for (int64_t row = 0; row < p.rows; ++row) gradient[row * p.stride + p.dim] = NAN;
    return gradient;
  }

  DeviceBuffer<float> on_device(const std::vector<float>& values) {
    return DeviceBuffer<float>(device(), values);
  }
};

GaussianDensity<float> density_of(const Posteriors& p, const float* z, const float* stats,
                                  int64_t rows) {
  GaussianDensity<float> args;
  args.z = z;
  args.mu = stats;
  args.logvar = stats + Posteriors::v_at(p.dim);
  args.stride = p.stride;
  args.batch = rows;
  args.dim = p.dim;
  return args;
}

GaussianDensityGradient<float> gradient_of_z(const float* upstream, float* dz, GradMode mode) {
  GaussianDensityGradient<float> gradient;
  gradient.upstream = upstream;
  gradient.dz = dz;
  gradient.z_mode = mode;
  return gradient;
}

GaussianDensityGradient<float> gradient_of_stats(const float* upstream, const Posteriors& p,
                                                 float* out, GradMode mode) {
  GaussianDensityGradient<float> gradient;
  gradient.upstream = upstream;
  gradient.dmu = out;
  gradient.dlogvar = out + Posteriors::v_at(p.dim);
  gradient.stride = p.stride;
  gradient.stats_mode = mode;
  return gradient;
}

TEST_P(ObjectiveGradients, OwnDensity) {
  Posteriors p{4, 3};
  p.values[p.stride + 1 + Posteriors::v_at(3)] = 10.75f;  // where the log-variance is compressed
  const auto z = random_values(4 * 3, 8), upstream = random_values(4, 9);
  const auto sum = [&](const Values& at, const Values& stats) {
    double total = 0;
    for (int64_t row = 0; row < 4; ++row) {
      for (int64_t d = 0; d < 3; ++d) {
        total +=
            upstream[row] * log_normal(at[row * 3 + d], p.mu(stats, row, d), p.raw(stats, row, d));
      }
    }
    return total;
  };
  const auto dz = on_device(z), dstats = on_device(p.values), dup = on_device(upstream);
  const GaussianDensity<float> args = density_of(p, dz.data(), dstats.data(), 4);
  expect_gradient(
      gradient_of([&](const Values& x) { return sum(x, wide(p.values)); }, wide(z)),
      [&](float* out, GradMode mode) {
        gaussian_density_backward(exec(), args, gradient_of_z(dup.data(), out, mode));
      },
      "dz");
  expect_gradient(
      with_gap(gradient_of([&](const Values& x) { return sum(wide(z), x); }, wide(p.values)), p),
      [&](float* out, GradMode mode) {
        gaussian_density_backward(exec(), args, gradient_of_stats(dup.data(), p, out, mode));
      },
      "dmu and dlogvar");
}

TEST_P(ObjectiveGradients, DensityOfThePrior) {
  const auto z = random_values(2 * 3, 8), upstream = random_values(2, 9);
  Values want;
  for (size_t i = 0; i < z.size(); ++i) want.push_back(-double{z[i]} * upstream[i / 3]);
  const auto dz = on_device(z), dup = on_device(upstream);
  GaussianDensity<float> args;
  args.z = dz.data();
  args.batch = 2;
  args.dim = 3;
  expect_gradient(
      want,
      [&](float* out, GradMode mode) {
        gaussian_density_backward(exec(), args, gradient_of_z(dup.data(), out, mode));
      },
      "dz");
}

TEST_P(ObjectiveGradients, PairwiseDensity) {
  constexpr int64_t kRows = 3, kDim = 2;
  Posteriors p{4, kDim};
  p.values[2 * p.stride + Posteriors::v_at(kDim)] = -10.75f;
  p.values[2 * p.stride] = 0.01f;
  auto z = random_values(kRows * kDim, 8);
  for (int64_t row = 0; row < kRows; ++row) z[row * kDim] = 0.01f;  // near the narrow component
  for (const bool per_dimension : {false, true}) {
    const int64_t scores = kRows * 4 * (per_dimension ? kDim : 1);
    const auto upstream = random_values(scores, 9);
    const auto sum = [&](const Values& at, const Values& stats) {
      double total = 0;
      for (int64_t row = 0; row < kRows; ++row) {
        for (int64_t k = 0; k < 4; ++k) {
          for (int64_t d = 0; d < kDim; ++d) {
            const int64_t score = per_dimension ? row * kDim + d : row;
            total += upstream[score * 4 + k] *
                     log_normal(at[row * kDim + d], p.mu(stats, k, d), p.raw(stats, k, d));
          }
        }
      }
      return total;
    };
    const auto dz = on_device(z), dstats = on_device(p.values), dup = on_device(upstream);
    const PairwiseDensity<float> args{density_of(p, dz.data(), dstats.data(), kRows), 4,
                                      per_dimension, PairWeights::uniform(4)};
    expect_gradient(
        with_gap(gradient_of([&](const Values& x) { return sum(wide(z), x); }, wide(p.values)), p),
        [&](float* out, GradMode mode) {
          pairwise_density_backward(exec(), args, gradient_of_stats(dup.data(), p, out, mode));
        },
        "dmu and dlogvar");
    Posteriors tame = p;  // differences do not reach as far as the narrow component's slope
    tame.values[2 * p.stride + Posteriors::v_at(kDim)] = -1.0f;
    const auto dtame = on_device(tame.values);
    const PairwiseDensity<float> tame_args{density_of(p, dz.data(), dtame.data(), kRows), 4,
                                           per_dimension, PairWeights::uniform(4)};
    expect_gradient(
        gradient_of([&](const Values& x) { return sum(x, wide(tame.values)); }, wide(z)),
        [&](float* out, GradMode mode) {
          pairwise_density_backward(exec(), tame_args, gradient_of_z(dup.data(), out, mode));
        },
        "dz");
  }
}

TEST_P(ObjectiveGradients, MeanKl) {
  Posteriors p{5, 3};
  p.values[2 * p.stride + 1 + Posteriors::v_at(3)] = 10.75f;
  const auto upstream = random_values(3, 9);
  const auto sum = [&](const Values& x) {
    double total = 0;
    for (int64_t row = 0; row < 5; ++row) {
      for (int64_t d = 0; d < 3; ++d) {
        const double mu = p.mu(x, row, d), v = formulas::bounded_logvar(p.raw(x, row, d));
        total += upstream[d] * 0.5 * (mu * mu + std::exp(v) - 1 - v) / 5;
      }
    }
    return total;
  };
  const auto dstats = on_device(p.values), dup = on_device(upstream);
  const LatentStats<float> args{dstats.data(), dstats.data() + Posteriors::v_at(3), p.stride, 5, 3};
  expect_gradient(
      with_gap(gradient_of(sum, wide(p.values)), p),
      [&](float* out, GradMode mode) {
        mean_kl_backward(exec(), args,
                         {dup.data(), out, out + Posteriors::v_at(3), p.stride, mode});
      },
      "mean_kl");
}

TEST_P(ObjectiveGradients, Covariance) {
  constexpr int64_t kBatch = 5, kDim = 3;
  Posteriors p{kBatch, kDim};
  p.values[2 * p.stride + 1 + Posteriors::v_at(kDim)] = 10.25f;
  const auto upstream = random_values(kDim * kDim, 9, -0.01, 0.01);
  for (const bool samples : {false, true}) {
    const auto sum = [&](const Values& x) {
      double total = 0;
      for (int64_t i = 0; i < kDim; ++i) {
        for (int64_t j = 0; j < kDim; ++j) {
          double both = 0, mean_i = 0, mean_j = 0, variance = 0;
          for (int64_t b = 0; b < kBatch; ++b) {
            both += p.mu(x, b, i) * p.mu(x, b, j) / kBatch;
            mean_i += p.mu(x, b, i) / kBatch;
            mean_j += p.mu(x, b, j) / kBatch;
            variance += std::exp(formulas::bounded_logvar(p.raw(x, b, i))) / kBatch;
          }
          total += upstream[i * kDim + j] *
                   (both - mean_i * mean_j + (samples && i == j ? variance : 0));
        }
      }
      return total;
    };
    const auto dstats = on_device(p.values), dup = on_device(upstream);
    DeviceBuffer<float> mean(device(), kDim), c(device(), kDim * kDim);
    LatentStats<float> args{dstats.data(), dstats.data() + Posteriors::v_at(kDim), p.stride, kBatch,
                            kDim};
    if (!samples) args.logvar = nullptr;
    covariance_forward(exec(), args, mean.data(), c.data());
    const Values want = with_gap(gradient_of(sum, wide(p.values)), p);
    expect_gradient(
        want,
        [&](float* out, GradMode mode) {
          covariance_backward(exec(), args, mean.data(),
                              {dup.data(), out, out + Posteriors::v_at(kDim), p.stride, mode});
        },
        samples ? "of samples" : "of means");
    Values of_means = want;  // without a place for those of the log-variance
    for (int64_t b = 0; b < kBatch; ++b) {
      for (int64_t d = 0; d < kDim; ++d) of_means[b * p.stride + Posteriors::v_at(kDim) + d] = NAN;
    }
    expect_gradient(
        of_means,
        [&](float* out, GradMode mode) {
          covariance_backward(exec(), args, mean.data(),
                              {dup.data(), out, nullptr, p.stride, mode});
        },
        "without dlogvar");
  }
}

TEST_P(ObjectiveGradients, MeanDiscrepancy) {
  constexpr int64_t kDim = 2;
  for (const int64_t batch : {1, 2, 5}) {
    const auto z = random_values(batch * kDim, 3), p = random_values(batch * kDim, 4);
    const auto kernel = [&](const double* a, const double* b) {
      double squared = 0, sum = 0;
      for (int64_t d = 0; d < kDim; ++d) squared += (a[d] - b[d]) * (a[d] - b[d]);
      for (const double s : {0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0}) {
        sum += 2 * kDim * s / (2 * kDim * s + squared);
      }
      return sum;
    };
    const Values prior = wide(p);
    const auto n = static_cast<double>(batch);
    const auto discrepancy = [&](const Values& x) {
      double sum = 0;
      for (int64_t i = 0; batch > 1 && i < batch; ++i) {
        for (int64_t j = 0; j < batch; ++j) {
          if (i != j) sum += kernel(&x[i * kDim], &x[j * kDim]) / (n * (n - 1));
          sum -= 2 * kernel(&x[i * kDim], &prior[j * kDim]) / (n * n);
        }
      }
      return -1.5 * sum;  // upstream
    };
    const auto dz = on_device(z), dp = on_device(p), dy = on_device({-1.5f});
    expect_gradient(
        gradient_of(discrepancy, wide(z)),
        [&](float* out, GradMode mode) {
          mmd_backward(exec(), batch, kDim, dz.data(), dp.data(), dy.data(), out, mode);
        },
        "batch " + std::to_string(batch));
  }
}

TEST_P(ObjectiveGradients, SmallFunctions) {
  const std::vector<float> x = {-2.0f, -0.5f, 0.0f, 0.5f, 3.0f};
  const auto in = on_device(x), dy = on_device({1.0f, 2.0f, 4.0f, 8.0f, -16.0f}),
             target = on_device({0.5f});
  expect_gradient(
      {0, 0, 0, 8, -16},
      [&](float* out, GradMode mode) {
        at_least_backward(exec(), 5, in.data(), 0.5f, dy.data(), out, mode);
      },
      "at_least");
  expect_gradient(
      {-1, -2, -4, 0, -16},
      [&](float* out, GradMode mode) {
        distance_backward(exec(), 5, in.data(), target.data(), dy.data(), out, mode);
      },
      "distance");
  expect_gradient(
      {0.5, 1, 2, 4, -8},
      [&](float* out, GradMode mode) {
        weighted_sum_backward(exec(), 5, {dy.data(), 1, 0.5f}, out, mode);
      },
      "weighted_sum");
  expect_gradient(
      {3, 3, 3},
      [&](float* out, GradMode mode) {
        weighted_sum_backward(exec(), 3, {dy.data() + 1, 0, 1.5f}, out, mode);
      },
      "weighted_sum of one weight");
}

TEST_P(ObjectiveGradients, FunctionsOfRows) {
  const auto x = random_values(3 * 4, 5), dy = random_values(3 * 4, 6), w = random_values(3, 7);
  const auto dx = on_device(x), ddy = on_device(dy), dw = on_device(w);
  Values scaled, signs;
  for (size_t i = 0; i < 12; ++i) {
    scaled.push_back(double{w[i / 4]} * dy[i]);
    signs.push_back(x[i] > 0 ? w[i / 4] : -w[i / 4]);
  }
  expect_gradient(
      scaled,
      [&](float* out, GradMode mode) {
        scale_rows(exec(), 3, 4, ddy.data(), dw.data(), out, mode);
      },
      "scale_rows");
  expect_gradient(
      signs,
      [&](float* out, GradMode mode) {
        l1_rows_backward(exec(), 3, 4, dx.data(), dw.data(), out, mode);
      },
      "l1_rows");
  DeviceBuffer<float> sums(device(), 3), weights(device(), 12);
  l1_rows_forward(exec(), 3, 4, dx.data(), sums.data());
  log_ratio_weights(exec(), 3, 4, dx.data(), dw.data(), weights.data());
  const auto got = sums.download(), ratios = weights.download();
  for (size_t row = 0; row < 3; ++row) {
    double sum = 0;
    for (size_t i = row * 4; i < row * 4 + 4; ++i) {
      sum += std::abs(double{x[i]});
      const double want = std::exp(double{x[i]} - w[row]);
      EXPECT_NEAR(ratios[i], want, 1e-6 * want);
    }
    EXPECT_NEAR(got[row], sum, 1e-5);
  }
}

TEST_P(ObjectiveGradients, Sparsity) {
  const std::vector<float> x = {0.02f, 0.1f, 0.5f, 0.98f};
  const auto in = on_device(x), dy = on_device({1.0f, -2.0f, 3.0f, 0.5f});
  const Values weight = {1, -2, 3, 0.5};
  expect_gradient(
      gradient_of(
          [&](const Values& q) {
            double sum = 0;
            for (size_t i = 0; i < q.size(); ++i) {
              sum += weight[i] * (0.1 * std::log(0.1 / q[i]) + 0.9 * std::log(0.9 / (1 - q[i])));
            }
            return sum;
          },
          wide(x)),
      [&](float* out, GradMode mode) {
        bernoulli_kl_backward(exec(), 4, 0.1f, in.data(), dy.data(), out, mode);
      },
      "bernoulli_kl");
  DeviceBuffer<float> y(device(), 2);  // a target of nothing: its term is zero, not NaN
  bernoulli_kl_forward(exec(), 2, 0.0f, in.data() + 1, y.data());
  EXPECT_NEAR(y.download()[0], -std::log(0.9), 1e-6);
  bernoulli_kl_forward(exec(), 2, 1.0f, in.data() + 1, y.data());
  EXPECT_NEAR(y.download()[1], std::log(2.0), 1e-6);
}

TEST_P(ObjectiveGradients, PenaltyOfACovariance) {
  const auto c = random_values(9, 5);
  const auto dc = on_device(c), dy = on_device({-1.5f});
  expect_gradient(
      gradient_of(
          [](const Values& x) {
            double sum = 0;
            for (size_t i = 0; i < 9; ++i) {
              const bool diagonal = i % 4 == 0;
              sum += diagonal ? 8 * (x[i] - 1) * (x[i] - 1) : 2 * x[i] * x[i];
            }
            return -1.5 * sum;
          },
          wide(c)),
      [&](float* out, GradMode mode) {
        dip_penalty_backward(exec(), 3, dc.data(), {2.0f, 8.0f}, dy.data(), out, mode);
      },
      "dip_penalty");
}

// s(y) of each activation, from y alone, and its derivative.
TEST_P(ObjectiveGradients, SlopesOfActivations) {
  struct Case {
    Activation activation;
    std::function<double(double)> slope;
  };
  const std::vector<float> y = {0.2f, 0.35f, 0.5f, 0.9f}, ds = {1.0f, -2.0f, 0.5f, 3.0f};
  for (const Case& test : {Case{Activation::tanh, [](double v) { return 1 - v * v; }},
                           Case{Activation::sigmoid, [](double v) { return v * (1 - v); }},
                           Case{Activation::softplus, [](double v) { return 1 - std::exp(-v); }},
                           Case{Activation::relu, [](double) { return 1.0; }},
                           Case{Activation::identity, [](double) { return 1.0; }}}) {
    const auto dy = on_device(y), dds = on_device(ds);
    DeviceBuffer<float> s(device(), 4);
    activation_slope_forward(exec(), 4, test.activation, dy.data(), s.data());
    const auto got = s.download();
    for (size_t i = 0; i < 4; ++i) {
      EXPECT_NEAR(got[i], test.slope(y[i]), 1e-6) << activation_name(test.activation);
    }
    expect_gradient(
        gradient_of(
            [&](const Values& x) {
              double sum = 0;
              for (size_t i = 0; i < 4; ++i) sum += ds[i] * test.slope(x[i]);
              return sum;
            },
            wide(y)),
        [&](float* out, GradMode mode) {
          activation_slope_backward(exec(), 4, test.activation, dy.data(), dds.data(), out, mode);
        },
        activation_name(test.activation));
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, ObjectiveGradients, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
