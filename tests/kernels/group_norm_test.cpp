// Group norm with its activation against double arithmetic, on every device.
#include "kernels/group_norm.h"

#include <gtest/gtest.h>

#include "tests/kernels/norm_oracle.h"
#include "tests/support/device.h"
#include "tests/support/error_of.h"
#include "tests/support/values.h"

namespace elbo {
namespace {

using oracle::kNormRounding;
using oracle::kNormTolerance;
using oracle::NormShape;

// One channel per group (instance norm), one group (layer norm), one position, and the usual.
const std::vector<NormShape> kShapes = {{1, 3, 1, 1},   {2, 1, 6, 2},   {3, 4, 3, 3},
                                        {2, 9, 17, 1},  {2, 64, 32, 8}, {3, 25, 36, 4},
                                        {1, 300, 8, 2}, {5, 1, 66, 3}};

class GroupNorm : public DeviceTest {
 protected:
  template <class T>
  struct Result {
    std::vector<T> y, dx;
    std::vector<Compute<T>> dgamma, dbeta;
  };

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
  };

  template <class T>
  Result<T> run(const Layer<T>& layer, Activation activation, double epsilon, GradMode mode,
                size_t shift = 0) {
    using R = Compute<T>;
    const NormShape& s = layer.shape;
    const auto stats = static_cast<size_t>(s.batch * s.channels);
    DeviceBuffer<T> x(device(), layer.x, shift), dy(device(), layer.dy, shift),
        y(device(), layer.x.size(), shift), dx(device(), layer.old, shift);
    const std::vector<R> ones(static_cast<size_t>(s.channels), 1);
    DeviceBuffer<R> gamma(device(), layer.gamma), beta(device(), layer.beta), mean(device(), stats),
        rstd(device(), stats), sums(device(), 2 * stats), dgamma(device(), ones),
        dbeta(device(), ones);
    group_norm_forward(exec(), GroupNormForward<T>{.batch = s.batch,
                                                   .rows = s.rows,
                                                   .channels = s.channels,
                                                   .groups = s.groups,
                                                   .x = x.data(),
                                                   .gamma = gamma.data(),
                                                   .beta = beta.data(),
                                                   .y = y.data(),
                                                   .mean = mean.data(),
                                                   .rstd = rstd.data(),
                                                   .activation = activation,
                                                   .epsilon = static_cast<R>(epsilon)});
    group_norm_backward(exec(), GroupNormBackward<T>{.batch = s.batch,
                                                     .rows = s.rows,
                                                     .channels = s.channels,
                                                     .groups = s.groups,
                                                     .x = x.data(),
                                                     .dy = dy.data(),
                                                     .gamma = gamma.data(),
                                                     .beta = beta.data(),
                                                     .mean = mean.data(),
                                                     .rstd = rstd.data(),
                                                     .sums = sums.data(),
                                                     .activation = activation,
                                                     .dx = dx.data(),
                                                     .mode = mode,
                                                     .dgamma = dgamma.data(),
                                                     .dbeta = dbeta.data(),
                                                     .dgamma_mode = mode,
                                                     .dbeta_mode = mode});
    return {y.download(), dx.download(), dgamma.download(), dbeta.download()};
  }

  template <class T>
  void check(const NormShape& shape, Activation activation, GradMode mode, size_t shift = 0,
             double mean = 0.3, double tolerance = kNormTolerance<Compute<T>>) {
    const Layer<T> layer(shape, mean);
    const double epsilon = 0.015625;  // exact in every type, and large enough to be noticed
    const Result<T> got = run(layer, activation, epsilon, mode, shift);
    oracle::NormOracle want = oracle::normalise(
        shape, activation, epsilon, oracle::widened(layer.x), oracle::widened(layer.dy),
        oracle::widened(layer.gamma), oracle::widened(layer.beta));
    if (mode == GradMode::add) {
      for (size_t i = 0; i < want.dx.size(); ++i) want.dx[i] += to_float(layer.old[i]);
      for (double& v : want.dgamma) v += 1;
      for (double& v : want.dbeta) v += 1;
    }
    const auto near = [&]<class V>(const std::vector<V>& a, const std::vector<double>& b,
                                   const char* name) {
      expect_close(a, b, tolerance * oracle::largest(b), kNormRounding<V>,
                   concat(name, " ", shape.name(), " ", activation_name(activation)));
    };
    near(got.y, want.y, "y");
    near(got.dx, want.dx, "dx");
    near(got.dgamma, want.dgamma, "dgamma");
    near(got.dbeta, want.dbeta, "dbeta");
  }
};

TEST_P(GroupNorm, MatchesDoubleInEveryShape) {
  for (const NormShape& shape : kShapes) {
    check<float>(shape, Activation::silu, GradMode::write);
    check<float>(shape, Activation::identity, GradMode::add, 1);  // not 16-byte aligned
    check<bf16>(shape, Activation::silu, GradMode::write);
    if (device() == Device::cpu) check<double>(shape, Activation::silu, GradMode::add);
  }
}

TEST_P(GroupNorm, FusesEveryActivation) {
  for (const Activation activation : kActivations) {
    check<float>({2, 20, 12, 3}, activation, GradMode::write);
    check<bf16>({2, 20, 16, 4}, activation, GradMode::add);
  }
}

TEST_P(GroupNorm, JoinsThePartsOfManyRows) {
  check<float>({2, 1100, 8, 2}, Activation::silu, GradMode::write);
}

TEST_P(GroupNorm, SurvivesAMeanFarAboveTheDeviation) {
  check<float>({2, 400, 6, 2}, Activation::identity, GradMode::write, 0, 1000, 1e-4);
}

// Channels of one group may lie far apart, which counts in its variance.
TEST_P(GroupNorm, ChannelsOfAGroupMayHaveDifferentMeans) {
  const NormShape shape{1, 50, 4, 2};
  Layer<float> layer(shape);
  for (size_t i = 0; i < layer.x.size(); i += 2) layer.x[i] += 100;
  const oracle::NormOracle want = oracle::normalise(
      shape, Activation::identity, 1e-6, oracle::widened(layer.x), oracle::widened(layer.dy),
      oracle::widened(layer.gamma), oracle::widened(layer.beta));
  const Result<float> got = run(layer, Activation::identity, 1e-6, GradMode::write);
  expect_close(got.y, want.y, 1e-5, 0, "y");
}

TEST_P(GroupNorm, RepeatsBitForBit) {
  const Layer<float> layer({3, 220, 36, 4});
  for_each_order(device(), [&] {
    const Result<float> r = run(layer, Activation::silu, 1e-6, GradMode::add);
    return std::vector{r.y, r.dx, r.dgamma, r.dbeta};
  });
}

TEST_P(GroupNorm, EmptyBatchesClearGradients) {
  for (const NormShape& shape : {NormShape{0, 3, 4, 2}, NormShape{2, 0, 4, 2}}) {
    const Result<float> got = run(Layer<float>(shape), Activation::silu, 1e-6, GradMode::write);
    EXPECT_EQ(got.dgamma, std::vector<float>(4, 0.0f));
    EXPECT_EQ(got.dbeta, std::vector<float>(4, 0.0f));
  }
}

TEST_P(GroupNorm, RefusesGroupsThatDoNotDivideTheChannels) {
  expect_no_launch();
  const std::string want =
      "1: group_norm: 6 channels do not divide into 4 groups; choose a divisor";
  GroupNormForward<float> forward{};
  forward.batch = forward.rows = 1;
  forward.channels = 6;
  forward.groups = 4;
  EXPECT_EQ(error_of([&] { group_norm_forward(exec(), forward); }), want);
  GroupNormBackward<float> backward{};
  backward.channels = 6;
  backward.groups = 4;
  EXPECT_EQ(error_of([&] { group_norm_backward(exec(), backward); }), want);
  forward.groups = backward.groups = 3;
  backward.batch = backward.rows = 1;
  EXPECT_EQ(error_of([&] { group_norm_forward(exec(), forward); }),
            "1: group_norm_forward: null operand");
  EXPECT_EQ(error_of([&] { group_norm_backward(exec(), backward); }),
            "1: group_norm_backward: null operand");
}

INSTANTIATE_TEST_SUITE_P(Devices, GroupNorm, testing::ValuesIn(available_devices()), device_name);

}  // namespace
}  // namespace elbo
