// Activation passes against libm in double, on every device. The scalar formulas and their
// derivatives are tested by formulas_test.cpp; here it is the passes: sizes, modes, aliasing, sums.
#include "kernels/activation_op.h"

#include <gtest/gtest.h>

#include "kernels/error.h"
#include "tests/kernels/linear_oracle.h"
#include "tests/support/device.h"

namespace elbo {
namespace {

using oracle::Matrix;
using oracle::Numbers;

// A few ulp of the result and of the slope's terms, which are of order one.
constexpr double kTolerance = 1e-6;

struct Layer {
  int64_t batch, dim;
};
const std::vector<Layer> kLayers = {{1, 1},   {1, 33},   {33, 1},  {31, 32},
                                    {32, 33}, {255, 31}, {7, 257}, {300, 70}};

class ActivationOpTest : public DeviceTest {
 protected:
  std::vector<float> forward(Activation activation, const std::vector<float>& x) {
    const DeviceBuffer<float> xd(device(), x);
    DeviceBuffer<float> y(device(), x.size());
    activation_forward(exec(), activation, static_cast<int64_t>(x.size()), xd.data(), y.data());
    return y.download();
  }
};

Matrix backward_oracle(Activation activation, const std::vector<float>& x,
                       const std::vector<float>& dy) {
  Matrix want = oracle::matrix_of(dy);
  for (size_t i = 0; i < x.size(); ++i) want.value[i] *= oracle::slope(activation, x[i]);
  return want;
}

TEST_P(ActivationOpTest, ForwardMatchesLibmAtEverySizeAndAlignment) {
  Numbers numbers(1);
  for (const Activation activation : kActivations) {
    for (const int64_t n : {1, 31, 32, 33, 255, 257, 1000}) {
      for (const size_t shift : {0u, 1u}) {
        const auto x = numbers(n);
        const DeviceBuffer<float> xd(device(), x, shift);
        DeviceBuffer<float> y(device(), x.size(), shift);
        activation_forward(exec(), activation, n, xd.data(), y.data());
        Matrix want = oracle::matrix_of(x);
        for (double& v : want.value) v = oracle::activated(activation, v);
        oracle::expect_near(y.download(), want, activation_name(activation), kTolerance);
      }
    }
  }
}

TEST_P(ActivationOpTest, ForwardMayRunInPlace) {
  Numbers numbers(2);
  const auto x = numbers(100);
  for (const Activation activation : kActivations) {
    DeviceBuffer<float> xy(device(), x);
    activation_forward(exec(), activation, 100, xy.data(), xy.data());
    EXPECT_EQ(xy.download(), forward(activation, x)) << activation_name(activation);
  }
}

TEST_P(ActivationOpTest, BackwardWritesAndAdds) {
  Numbers numbers(3);
  for (const Activation activation : kActivations) {
    for (const int64_t n : {1, 31, 33, 257, 1000}) {
      const auto x = numbers(n), dy = numbers(n), old = numbers(n);
      const DeviceBuffer<float> xd(device(), x), y(device(), forward(activation, x)),
          dyd(device(), dy);
      for (const GradMode mode : {GradMode::write, GradMode::add}) {
        DeviceBuffer<float> dx(device(), old);
        activation_backward(exec(), ActivationBackward{.activation = activation,
                                                       .n = n,
                                                       .dy = dyd.data(),
                                                       .y = y.data(),
                                                       .pre = xd.data(),
                                                       .dx = dx.data(),
                                                       .mode = mode});
        Matrix want = backward_oracle(activation, x, dy);
        if (mode == GradMode::add) oracle::add_to(want, old);
        oracle::expect_near(dx.download(), want, activation_name(activation), kTolerance);
      }
    }
  }
}

TEST_P(ActivationOpTest, BackwardBiasSumsColumnsOfWhatItWrites) {
  Numbers numbers(4);
  for (const Layer& layer : kLayers) {
    const int64_t n = layer.batch * layer.dim;
    const auto x = numbers(n), dy = numbers(n), old = numbers(layer.dim);
    for (const Activation activation : kActivations) {
      const DeviceBuffer<float> xd(device(), x), y(device(), forward(activation, x));
      for (const GradMode mode : {GradMode::write, GradMode::add}) {
        DeviceBuffer<float> dx(device(), dy), dbias(device(), old);  // dx is dy, in place
        activation_backward_bias(exec(), ActivationBackwardBias{.activation = activation,
                                                                .batch = layer.batch,
                                                                .dim = layer.dim,
                                                                .dy = dx.data(),
                                                                .y = y.data(),
                                                                .pre = xd.data(),
                                                                .dx = dx.data(),
                                                                .dbias = dbias.data(),
                                                                .dbias_mode = mode});
        const Matrix want = backward_oracle(activation, x, dy);
        oracle::expect_near(dx.download(), want, activation_name(activation), kTolerance);
        Matrix sums = oracle::column_sums(want, layer.dim);
        if (mode == GradMode::add) oracle::add_to(sums, old);
        oracle::expect_near(dbias.download(), sums, activation_name(activation), kTolerance);
      }
    }
  }
}

TEST_P(ActivationOpTest, BackwardWithoutABiasOnlyUndoesTheActivation) {
  DeviceBuffer<float> y(device(), {-1, 0, 2, 3}), dx(device(), {5, 6, 7, 8});
  activation_backward_bias(exec(), ActivationBackwardBias{.activation = Activation::relu,
                                                          .batch = 2,
                                                          .dim = 2,
                                                          .dy = dx.data(),
                                                          .y = y.data(),
                                                          .dx = dx.data()});
  EXPECT_EQ(dx.download(), (std::vector<float>{0, 0, 7, 8}));
}

// What a product without epilogue leaves to do; the mask is the library's layout.
TEST_P(ActivationOpTest, BiasActivationKeepsWhatBackwardNeeds) {
  Numbers numbers(5);
  for (const Layer& layer : kLayers) {
    const int64_t n = layer.batch * layer.dim;
    auto product = numbers(n);
    const auto bias = numbers(layer.dim);
    if (n > 0) product[0] = -bias[0];  // a sum of exactly 0, where the slope of ReLU is 0
    const DeviceBuffer<float> bd(device(), bias);
    for (const Activation activation : kActivations) {
      const size_t row_bytes = relu_mask_row_bytes(layer.dim);
      DeviceBuffer<float> y(device(), product), pre(device(), static_cast<size_t>(n));
      DeviceBuffer<uint8_t> mask(device(), layer.batch * row_bytes);
      const bool relu = activation == Activation::relu;
      bias_activation_forward(
          exec(), BasicBiasActivation<float>{.activation = activation,
                                             .batch = layer.batch,
                                             .dim = layer.dim,
                                             .bias = bd.data(),
                                             .y = y.data(),
                                             .aux = relu ? static_cast<void*>(mask.data())
                                                         : static_cast<void*>(pre.data())});
      std::vector<float> sums = product;
      for (int64_t i = 0; i < n; ++i) sums[i] += bias[i % layer.dim];
      Matrix want = oracle::matrix_of(sums);
      for (double& v : want.value) v = oracle::activated(activation, v);
      oracle::expect_near(y.download(), want, activation_name(activation), kTolerance);
      if (needs_pre_activation(activation)) {
        EXPECT_EQ(pre.download(), sums);
      } else if (relu) {
        const std::vector<uint8_t> bytes = mask.download();
        for (int64_t i = 0; i < n; ++i) {
          const int64_t col = i % layer.dim;
          const uint8_t byte = bytes[i / layer.dim * row_bytes + col / 8];
          ASSERT_EQ(byte >> col % 8 & 1, sums[i] > 0) << "element " << i;
        }
      }
    }
  }
}

TEST_P(ActivationOpTest, ColumnSumsRepeatBitForBit) {
  Numbers numbers(6);
  const auto dy = numbers(65 * 40), y = numbers(65 * 40);
  const DeviceBuffer<float> dyd(device(), dy), yd(device(), y);
  for_each_order(device(), [&] {
    DeviceBuffer<float> dx(device(), dy.size()), dbias(device(), 40);
    activation_backward_bias(exec(), ActivationBackwardBias{.activation = Activation::tanh,
                                                            .batch = 65,
                                                            .dim = 40,
                                                            .dy = dyd.data(),
                                                            .y = yd.data(),
                                                            .dx = dx.data(),
                                                            .dbias = dbias.data()});
    return dbias.download();
  });
}

TEST_P(ActivationOpTest, NothingToDoLaunchesNothing) {
  expect_no_launch();
  activation_forward<float>(exec(), Activation::gelu, 0, nullptr, nullptr);
  activation_backward(
      exec(),
      ActivationBackward{.activation = Activation::gelu, .n = 0, .dy = nullptr, .dx = nullptr});
  bias_activation_forward(exec(),
                          BasicBiasActivation<float>{
                              .activation = Activation::relu, .batch = 0, .dim = 4, .y = nullptr});
}

TEST_P(ActivationOpTest, EmptyBatchStillWritesTheBiasGradient) {
  DeviceBuffer<float> dbias(device(), {1, 2, 3});
  activation_backward_bias(exec(), ActivationBackwardBias{.activation = Activation::relu,
                                                          .batch = 0,
                                                          .dim = 3,
                                                          .dy = nullptr,
                                                          .dx = nullptr,
                                                          .dbias = dbias.data()});
  EXPECT_EQ(dbias.download(), std::vector<float>(3, 0));
}

TEST_P(ActivationOpTest, RefusesMissingOperands) {
  expect_no_launch();
  DeviceBuffer<float> a(device(), {1, 2}), b(device(), {1, 2});
  EXPECT_THROW(activation_forward<float>(exec(), Activation::relu, 2, nullptr, b.data()), Error);
  for (const Activation activation : {Activation::silu, Activation::tanh}) {
    ActivationBackward args{.activation = activation, .n = 2, .dy = a.data(), .dx = b.data()};
    EXPECT_THROW(activation_backward(exec(), args), Error) << "lacks y and pre";
    args.y = args.pre = args.dy;
    args.dx = a.data();
    args.mode = GradMode::add;
    EXPECT_THROW(activation_backward(exec(), args), Error) << "adds to dy itself";
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, ActivationOpTest, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
