// Batch norm with its activation against double arithmetic, on every device; running statistics and
// edges as PyTorch has them (tests/golden/torch_layers.py).
#include "kernels/batch_norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/golden/torch_layers.h"
#include "tests/kernels/norm_oracle.h"
#include "tests/support/device.h"
#include "tests/support/error_of.h"
#include "tests/support/values.h"

namespace elbo {
namespace {

using oracle::kNormRounding;
using oracle::kNormTolerance;
using oracle::NormShape;

// Around a vector, a warp, the strip of channels and the run of rows that a CPU thread works on.
const std::vector<NormShape> kShapes = {{1, 2, 1, 0},    {3, 1, 3, 0},   {2, 9, 17, 0},
                                        {1, 31, 8, 0},   {4, 65, 33, 0}, {1, 257, 4, 0},
                                        {2, 300, 64, 0}, {1, 5, 260, 0}, {1, 6, 1030, 0}};

template <class T>
struct Layer {
  using R = Compute<T>;
  NormShape shape;
  std::vector<T> x, dy, old;
  std::vector<R> gamma, beta;

  explicit Layer(const NormShape& s, double mean = 0.3)
      : shape(s),
        x(random_values<T>(s.count(), 1, mean - 2, mean + 2)),
        dy(random_values<T>(s.count(), 2)),
        old(random_values<T>(s.count(), 3)),
        gamma(random_values<R>(s.channels, 4)),
        beta(random_values<R>(s.channels, 5)) {}

  oracle::NormOracle expected(Activation activation, const std::vector<double>* mean = nullptr,
                              const std::vector<double>* var = nullptr) const {
    return oracle::normalise(shape, activation, R(1e-5), oracle::widened(x), oracle::widened(dy),
                             oracle::widened(gamma), oracle::widened(beta), mean, var);
  }
};

class BatchNorm : public DeviceTest {
 protected:
  template <class T>
  struct Result {
    std::vector<T> y, dx;
    std::vector<Compute<T>> dgamma, dbeta, mean, var;
    int64_t batches = 0;
  };

  // Both passes; running statistics start at `mean` and `var`.
  template <class T>
  Result<T> run(const Layer<T>& layer, Activation activation, bool training, GradMode mode,
                size_t shift = 0, double mean = 0, double var = 1) {
    using R = Compute<T>;
    const NormShape& s = layer.shape;
    const auto channels = static_cast<size_t>(s.channels);
    DeviceBuffer<T> x(device(), layer.x, shift), dy(device(), layer.dy, shift),
        y(device(), layer.x.size(), shift), dx(device(), layer.old, shift);
    const std::vector<R> ones(channels, 1);
    DeviceBuffer<R> gamma(device(), layer.gamma), beta(device(), layer.beta),
        saved_mean(device(), channels), rstd(device(), channels), sums(device(), 2 * channels),
        dgamma(device(), ones), dbeta(device(), ones),
        running_mean(device(), std::vector<R>(channels, static_cast<R>(mean))),
        running_var(device(), std::vector<R>(channels, static_cast<R>(var)));
    DeviceBuffer<int64_t> batches(device(), std::vector<int64_t>{41});
    batch_norm_forward(exec(), BatchNormForward<T>{.rows = s.batch * s.rows,
                                                   .channels = s.channels,
                                                   .x = x.data(),
                                                   .gamma = gamma.data(),
                                                   .beta = beta.data(),
                                                   .y = y.data(),
                                                   .mean = saved_mean.data(),
                                                   .rstd = rstd.data(),
                                                   .activation = activation,
                                                   .training = training,
                                                   .running_mean = running_mean.data(),
                                                   .running_var = running_var.data(),
                                                   .batches = batches.data()});
    batch_norm_backward(exec(), BatchNormBackward<T>{.rows = s.batch * s.rows,
                                                     .channels = s.channels,
                                                     .x = x.data(),
                                                     .dy = dy.data(),
                                                     .gamma = gamma.data(),
                                                     .beta = beta.data(),
                                                     .mean = saved_mean.data(),
                                                     .rstd = rstd.data(),
                                                     .activation = activation,
                                                     .training = training,
                                                     .dx = dx.data(),
                                                     .mode = mode,
                                                     .dgamma = dgamma.data(),
                                                     .dbeta = dbeta.data(),
                                                     .dgamma_mode = mode,
                                                     .dbeta_mode = mode,
                                                     .sums = sums.data()});
    return {y.download(),         dx.download(),           dgamma.download(),
            dbeta.download(),     running_mean.download(), running_var.download(),
            batches.download()[0]};
  }

  template <class T>
  void check(const NormShape& shape, Activation activation, bool training, GradMode mode,
             size_t shift = 0) {
    using R = Compute<T>;
    const Layer<T> layer(shape);
    const auto channels = static_cast<size_t>(shape.channels);
    const std::vector<double> mean(channels, 0.25), var(channels, 2.0);
    const Result<T> got = run(layer, activation, training, mode, shift, 0.25, 2.0);
    oracle::NormOracle want =
        training ? layer.expected(activation) : layer.expected(activation, &mean, &var);
    if (mode == GradMode::add) {
      for (size_t i = 0; i < want.dx.size(); ++i) want.dx[i] += to_float(layer.old[i]);
      for (double& v : want.dgamma) v += 1;
      for (double& v : want.dbeta) v += 1;
    }
    const std::string what = concat(shape.name(), " ", activation_name(activation));
    const auto near = [&]<class V>(const std::vector<V>& a, const std::vector<double>& b,
                                   const char* name) {
      expect_close(a, b, kNormTolerance<R> * oracle::largest(b), kNormRounding<V>,
                   concat(name, " ", what, training ? " training" : ""));
    };
    near(got.y, want.y, "y");
    near(got.dx, want.dx, "dx");
    near(got.dgamma, want.dgamma, "dgamma");
    near(got.dbeta, want.dbeta, "dbeta");
    EXPECT_EQ(got.batches, training ? 42 : 41) << what;
    for (size_t c = 0; c < channels; ++c) {
      const double rows = static_cast<double>(shape.batch * shape.rows);
      if (training) want.mean[c] = 0.9 * 0.25 + 0.1 * want.mean[c];
      if (training) want.var[c] = 0.9 * 2.0 + 0.1 * want.var[c] * rows / (rows - 1);
    }
    near(got.mean, want.mean, "running mean");
    near(got.var, want.var, "running variance");
  }
};

TEST_P(BatchNorm, MatchesDoubleInEveryShape) {
  for (const NormShape& shape : kShapes) {
    for (const bool training : {true, false}) {
      check<float>(shape, Activation::identity, training, GradMode::write);
      check<float>(shape, Activation::silu, training, GradMode::add, 1);  // not 16-byte aligned
      check<bf16>(shape, Activation::tanh, training, GradMode::write);
      if (device() == Device::cpu) {
        check<double>(shape, Activation::gelu, training, GradMode::add);
      }
    }
  }
}

TEST_P(BatchNorm, FusesEveryActivation) {
  for (const Activation activation : kActivations) {
    for (const GradMode mode : {GradMode::write, GradMode::add}) {
      check<float>({2, 20, 12, 0}, activation, true, mode);
      check<bf16>({2, 20, 16, 0}, activation, false, mode);
    }
  }
}

// More rows than one thread or block sums in a row.
TEST_P(BatchNorm, JoinsThePartsOfManyRows) {
  check<float>({1, 4099, 5, 0}, Activation::relu, true, GradMode::write);
  check<float>({7, 700, 4, 0}, Activation::leaky_relu, true, GradMode::write);
  if (device() == Device::cpu)
    check<float>({1, 20000, 3, 0}, Activation::softplus, true, GradMode::write);
}

// A deviation of 1 beside a mean of 1000, where sums of squares in fp32 have no digit left. The inputs
// themselves are multiples of 6e-5 and so is their mean.
TEST_P(BatchNorm, SurvivesAMeanFarAboveTheDeviation) {
  const NormShape shape{4, 300, 6, 0};
  const Layer<float> layer(shape, 1000);
  const Result<float> got = run(layer, Activation::identity, true, GradMode::write);
  const oracle::NormOracle want = layer.expected(Activation::identity);
  expect_close(got.y, want.y, 1e-4, 0, "y");
  expect_close(got.dx, want.dx, 1e-4 * oracle::largest(want.dx), 0, "dx");
  for (size_t c = 0; c < 6; ++c) {
    EXPECT_NEAR(got.var[c], 0.9 + 0.1 * want.var[c] * 1200 / 1199, 1e-6);
  }
}

// The value that the others are measured from is the worst that it can be.
TEST_P(BatchNorm, SurvivesAFirstValueFarFromTheOthers) {
  Layer<float> layer({1, 1000, 2, 0}, 1.0);
  layer.x[0] = layer.x[1] = -1e6f;
  const oracle::NormOracle want = layer.expected(Activation::identity);
  const Result<float> got = run(layer, Activation::identity, true, GradMode::write);
  expect_close(got.y, want.y, 2e-6 * oracle::largest(want.y), 0, "y");
  for (size_t c = 0; c < 2; ++c) {
    EXPECT_NEAR(got.var[c] / (0.9 + 0.1 * want.var[c] * 1000 / 999), 1, 1e-5);
  }
}

TEST_P(BatchNorm, ConstantChannelsHaveNoVariance) {
  Layer<float> layer({2, 8, 3, 0});
  std::fill(layer.x.begin(), layer.x.end(), 7.25f);
  const Result<float> got = run(layer, Activation::identity, true, GradMode::write);
  for (size_t i = 0; i < got.y.size(); ++i) EXPECT_EQ(got.y[i], layer.beta[i % 3]);
  for (const float var : got.var) EXPECT_FLOAT_EQ(var, 0.9f);
}

// Not beta, which nobody would notice.
TEST_P(BatchNorm, AnInfiniteVarianceIsNaN) {
  Layer<float> layer({1, 4, 2, 0});
  layer.x[2] = 3e38f;
  layer.x[4] = -3e38f;
  const Result<float> got = run(layer, Activation::relu, true, GradMode::write);
  for (size_t i = 0; i < got.y.size(); ++i) EXPECT_EQ(std::isnan(got.y[i]), i % 2 == 0) << i;
}

TEST_P(BatchNorm, RunningStatisticsAreThoseOfPyTorch) {
  namespace g = golden::batch_norm;
  Layer<float> layer({2, 3, 2, 0});
  layer.x.assign(std::begin(g::x), std::end(g::x));
  layer.dy.assign(std::begin(g::dy), std::end(g::dy));
  layer.gamma.assign(std::begin(g::gamma), std::end(g::gamma));
  layer.beta.assign(std::begin(g::beta), std::end(g::beta));
  const Result<float> got = run(layer, Activation::identity, true, GradMode::write);
  const auto near = [](const std::vector<float>& a, const auto& b, const char* what) {
    expect_close(a, std::vector<double>(std::begin(b), std::end(b)), 2e-6, 2e-6, what);
  };
  near(got.y, g::y, "y");
  near(got.dx, g::dx, "dx");
  near(got.dgamma, g::dgamma, "dgamma");
  near(got.dbeta, g::dbeta, "dbeta");
  near(got.mean, g::running_mean, "running mean");
  near(got.var, g::running_var, "running variance");
}

TEST_P(BatchNorm, RepeatsBitForBit) {
  const Layer<float> layer({5, 220, 36, 0});
  const Layer<bf16> half({2, 150, 24, 0});
  for_each_order(device(), [&] {
    const Result<float> r = run(layer, Activation::silu, true, GradMode::add);
    return std::vector{r.y, r.dx, r.dgamma, r.dbeta, r.mean, r.var};
  });
  for_each_order(device(),
                 [&] { return run(half, Activation::relu, true, GradMode::write).dgamma; });
}

TEST_P(BatchNorm, NoRowsLaunchNothingButClearGradients) {
  const Result<float> got =
      run(Layer<float>({0, 3, 5, 0}), Activation::relu, true, GradMode::write, 0, 0.5, 3.0);
  EXPECT_EQ(got.batches, 41);
  EXPECT_EQ(got.mean, std::vector<float>(5, 0.5f));
  EXPECT_EQ(got.dgamma, std::vector<float>(5, 0.0f));
  EXPECT_EQ(got.dbeta, std::vector<float>(5, 0.0f));
}

TEST_P(BatchNorm, RefusesToTrainOnOneRow) {
  expect_no_launch();
  const Layer<float> layer({1, 1, 4, 0});
  EXPECT_EQ(error_of([&] { run(layer, Activation::relu, true, GradMode::write); }),
            "1: batch_norm: training needs more than one value per channel and has 1; use a larger "
            "batch, or running statistics");
}

TEST_P(BatchNorm, OneRowIsEnoughForRunningStatistics) {
  check<float>({1, 1, 4, 0}, Activation::identity, false, GradMode::write);
}

TEST_P(BatchNorm, RefusesMissingOperands) {
  expect_no_launch();
  DeviceBuffer<float> a(device(), std::vector<float>(4, 1.0f));
  BatchNormForward<float> forward{};
  forward.rows = forward.channels = 2;
  forward.x = a.data();
  EXPECT_NE(error_of([&] { batch_norm_forward(exec(), forward); }).find("null operand"),
            std::string::npos);
  forward.gamma = forward.beta = a.data();
  forward.y = forward.mean = forward.rstd = a.data();
  forward.running_mean = a.data();
  EXPECT_NE(error_of([&] { batch_norm_forward(exec(), forward); }).find("go together"),
            std::string::npos);
  forward.running_mean = nullptr;
  forward.training = false;
  EXPECT_NE(error_of([&] { batch_norm_forward(exec(), forward); }).find("are needed"),
            std::string::npos);
  BatchNormBackward<float> backward{};
  backward.rows = backward.channels = 2;
  backward.x = backward.dy = a.data();
  backward.gamma = backward.beta = backward.mean = a.data();
  EXPECT_NE(error_of([&] { batch_norm_backward(exec(), backward); }).find("null operand"),
            std::string::npos);
  backward.rstd = backward.dx = a.data();
  EXPECT_NE(error_of([&] { batch_norm_backward(exec(), backward); }).find("needs sums"),
            std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Devices, BatchNorm, testing::ValuesIn(available_devices()), device_name);

}  // namespace
}  // namespace elbo
