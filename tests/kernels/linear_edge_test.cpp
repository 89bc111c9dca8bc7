// Empty and broken calls of the linear layer, the fallback without a library, and cached plans.
#include <gtest/gtest.h>

#include "kernels/error.h"
#include "kernels/gemm_handles.h"
#include "kernels/linear.h"
#include "tests/kernels/linear_oracle.h"
#include "tests/support/device.h"

namespace elbo {
namespace {

using oracle::LinearShape;
using oracle::Numbers;

class LinearEdgeTest : public DeviceTest {};

TEST_P(LinearEdgeTest, EmptyBatchLaunchesNothingForwardAndForData) {
  expect_no_launch();
  DeviceBuffer<float> w(device(), std::vector<float>(15, 1)), y(device(), 0), x(device(), 0);
  linear_forward(exec(), LinearForward{.x = x.data(),
                                       .weight = w.data(),
                                       .y = y.data(),
                                       .batch = 0,
                                       .in = 3,
                                       .out = 5,
                                       .activation = Activation::relu});
  linear_backward_data(
      exec(),
      LinearBackwardData{
          .dy = y.data(), .weight = w.data(), .dx = x.data(), .batch = 0, .in = 3, .out = 5});
}

TEST_P(LinearEdgeTest, EmptyBatchWritesZeroGradientsAndAddsNothing) {
  const std::vector<float> ones(15, 1), five_ones(5, 1);
  for (const GradMode mode : {GradMode::write, GradMode::add}) {
    DeviceBuffer<float> none(device(), 0), dw(device(), ones), dbias(device(), five_ones);
    linear_backward_weight(exec(), LinearBackwardWeight{.x = none.data(),
                                                        .dy = none.data(),
                                                        .dweight = dw.data(),
                                                        .mode = mode,
                                                        .dbias = dbias.data(),
                                                        .dbias_mode = mode,
                                                        .batch = 0,
                                                        .in = 3,
                                                        .out = 5});
    const float want = mode == GradMode::add ? 1 : 0;
    EXPECT_EQ(dw.download(), std::vector<float>(15, want));
    EXPECT_EQ(dbias.download(), std::vector<float>(5, want));
  }
}

TEST_P(LinearEdgeTest, EmptyBatchWritesAZeroBiasGradientOfTheInputsActivation) {
  DeviceBuffer<float> none(device(), 0), w(device(), std::vector<float>(15, 1));
  DeviceBuffer<float> dbias(device(), std::vector<float>(3, 7));
  const InputActivation input{.activation = Activation::relu, .dbias = dbias.data()};
  linear_backward_data(exec(), LinearBackwardData{.dy = none.data(),
                                                  .weight = w.data(),
                                                  .dx = none.data(),
                                                  .batch = 0,
                                                  .in = 3,
                                                  .out = 5,
                                                  .input = &input});
  EXPECT_EQ(dbias.download(), std::vector<float>(3, 0));
}

TEST_P(LinearEdgeTest, WithoutInputsTheOutputIsTheActivatedBias) {
  DeviceBuffer<float> none(device(), 0), bias(device(), {-1, 0, 2});
  DeviceBuffer<float> y(device(), 6);
  linear_forward(exec(), LinearForward{.x = none.data(),
                                       .weight = none.data(),
                                       .bias = bias.data(),
                                       .y = y.data(),
                                       .batch = 2,
                                       .in = 0,
                                       .out = 3,
                                       .activation = Activation::relu});
  EXPECT_EQ(y.download(), (std::vector<float>{0, 0, 2, 0, 0, 2}));
}

TEST_P(LinearEdgeTest, WithoutOutputsTheGradientOfTheInputIsZero) {
  DeviceBuffer<float> none(device(), 0), dx(device(), std::vector<float>(6, 5));
  LinearBackwardData args{.dy = none.data(),
                          .weight = none.data(),
                          .dx = dx.data(),
                          .mode = GradMode::add,
                          .batch = 2,
                          .in = 3,
                          .out = 0};
  linear_backward_data(exec(), args);
  EXPECT_EQ(dx.download(), std::vector<float>(6, 5));
  args.mode = GradMode::write;
  linear_backward_data(exec(), args);
  EXPECT_EQ(dx.download(), std::vector<float>(6, 0));
}

TEST_P(LinearEdgeTest, RefusesMissingAndContradictoryOperands) {
  expect_no_launch();
  DeviceBuffer<float> a(device(), std::vector<float>(16, 1)),
      b(device(), std::vector<float>(16, 1)), c(device(), std::vector<float>(16, 1));
  const LinearForward forward{
      .x = a.data(), .weight = b.data(), .y = c.data(), .batch = 4, .in = 4, .out = 4};
  const LinearBackwardData data{
      .dy = a.data(), .weight = b.data(), .dx = c.data(), .batch = 4, .in = 4, .out = 4};
  for (const float* LinearForward::*operand : {&LinearForward::x, &LinearForward::weight}) {
    LinearForward broken = forward;
    broken.*operand = nullptr;
    EXPECT_THROW(linear_forward(exec(), broken), Error);
  }
  LinearForward negative = forward;
  negative.in = -1;
  EXPECT_THROW(linear_forward(exec(), negative), Error);

  const InputActivation relu{.activation = Activation::relu, .y = a.data()};
  LinearBackwardData adding = data;
  adding.input = &relu;
  adding.mode = GradMode::add;
  EXPECT_THROW(linear_backward_data(exec(), adding), Error);

  const InputActivation silu{.activation = Activation::silu, .y = a.data()};
  const InputActivation tanh{.activation = Activation::tanh, .aux = a.data()};
  for (const InputActivation* incomplete : {&silu, &tanh}) {
    LinearBackwardData broken = data;
    broken.input = incomplete;
    EXPECT_THROW(linear_backward_data(exec(), broken), Error) << "input lacks y or aux";
  }
}

TEST_P(LinearEdgeTest, CudaRefusesMisalignedOperands) {
  expect_no_launch();
  if (device() == Device::cpu) return;
  DeviceBuffer<float> x(device(), 16, 1), w(device(), 16), y(device(), 16);
  const LinearForward args{
      .x = x.data(), .weight = w.data(), .y = y.data(), .batch = 4, .in = 4, .out = 4};
  EXPECT_THROW(linear_forward(exec(), args), Error);
}

TEST_P(LinearEdgeTest, NanInTheInputReachesTheOutputOnTheCpu) {
  expect_no_launch();
  if (device() == Device::cuda) return;
  for (const Activation activation : kActivations) {
    DeviceBuffer<float> x(device(), {NAN, 1, 2, 3}), w(device(), {1, 1, 1, 1}), y(device(), 4);
    DeviceBuffer<float> aux(device(), 4);
    linear_forward(exec(), LinearForward{.x = x.data(),
                                         .weight = w.data(),
                                         .y = y.data(),
                                         .aux = aux.data(),
                                         .batch = 2,
                                         .in = 2,
                                         .out = 2,
                                         .activation = activation});
    const std::vector<float> got = y.download();
    EXPECT_TRUE(std::isnan(got[0]) && std::isnan(got[1])) << activation_name(activation);
    EXPECT_FALSE(std::isnan(got[2]) || std::isnan(got[3])) << activation_name(activation);
  }
}

// All three products of a few layers, in both modes.
void run_layers(const Exec& exec, Device device) {
  for (const LinearShape& s : oracle::kShapes) {
    DeviceBuffer<float> x(device, std::vector<float>(s.batch * s.in, 0.5f)),
        w(device, std::vector<float>(s.in * s.out, 0.5f)),
        y(device, std::vector<float>(s.batch * s.out, 0.5f)),
        bias(device, std::vector<float>(s.out, 0.5f));
    linear_forward(exec, LinearForward{.x = x.data(),
                                       .weight = w.data(),
                                       .bias = bias.data(),
                                       .y = y.data(),
                                       .batch = s.batch,
                                       .in = s.in,
                                       .out = s.out});
    for (const GradMode mode : {GradMode::write, GradMode::add}) {
      linear_backward_data(exec, LinearBackwardData{.dy = y.data(),
                                                    .weight = w.data(),
                                                    .dx = x.data(),
                                                    .mode = mode,
                                                    .batch = s.batch,
                                                    .in = s.in,
                                                    .out = s.out});
      linear_backward_weight(exec, LinearBackwardWeight{.x = x.data(),
                                                        .dy = y.data(),
                                                        .dweight = w.data(),
                                                        .mode = mode,
                                                        .batch = s.batch,
                                                        .in = s.in,
                                                        .out = s.out});
    }
    y.download();  // before the operands go
  }
}

TEST_P(LinearEdgeTest, PlansAreMadeOncePerShape) {
  run_layers(exec(), device());
  const std::vector<std::string> plans = describe_gemm_plans(exec().gemm);
  run_layers(exec(), device());
  EXPECT_EQ(describe_gemm_plans(exec().gemm), plans);
}

// The library has slow reference kernels and chooses them silently.
TEST_P(LinearEdgeTest, OneDnnNeverUsesAReferenceKernel) {
  expect_no_launch();
  if (device() == Device::cuda) return;
  if (!exec().gemm->cpu) GTEST_SKIP() << "NOT TESTED: built without oneDNN";
  run_layers(exec(), device());
  const std::vector<std::string> plans = describe_gemm_plans(exec().gemm);
  EXPECT_GE(plans.size(), oracle::kShapes.size());
  for (const std::string& plan : plans) EXPECT_EQ(plan.find(" ref"), std::string::npos) << plan;
}

INSTANTIATE_TEST_SUITE_P(Devices, LinearEdgeTest, testing::ValuesIn(available_devices()),
                         device_name);

// An Exec without handles takes our own products or, in double, the plain loops, as a build without
// oneDNN does.
template <class T>
struct PlainLoops : testing::Test {};
using Numeric = testing::Types<float, double>;
TYPED_TEST_SUITE(PlainLoops, Numeric);

TYPED_TEST(PlainLoops, MatchBruteForce) {
  using T = TypeParam;
  const double tolerance = std::is_same_v<T, double> ? 1e-14 : oracle::kTolerance;
  const Exec exec;
  Numbers numbers(11);
  const auto expect = [&](const std::vector<T>& got, const oracle::Matrix& want,
                          const std::string& what) {
    for (size_t i = 0; i < got.size(); ++i) {
      ASSERT_NEAR(got[i], want.value[i], tolerance * (1 + want.magnitude[i])) << what << " " << i;
    }
  };
  const auto cast = [](const std::vector<float>& v) { return std::vector<T>(v.begin(), v.end()); };
  for (const LinearShape& s : oracle::kShapes) {
    const auto x = numbers(s.batch * s.in), w = numbers(s.in * s.out), bias = numbers(s.out);
    const auto dy = numbers(s.batch * s.out), old = numbers(s.in * s.out);
    const std::vector<T> xt = cast(x), wt = cast(w), bt = cast(bias), dyt = cast(dy);
    std::vector<T> y(s.batch * s.out), dx(s.batch * s.in), dw = cast(old), dbias(s.out);
    linear_forward(exec, BasicLinearForward<T>{.x = xt.data(),
                                               .weight = wt.data(),
                                               .bias = bt.data(),
                                               .y = y.data(),
                                               .batch = s.batch,
                                               .in = s.in,
                                               .out = s.out,
                                               .activation = Activation::tanh});
    linear_backward_data(exec, BasicLinearBackwardData<T>{.dy = dyt.data(),
                                                          .weight = wt.data(),
                                                          .dx = dx.data(),
                                                          .batch = s.batch,
                                                          .in = s.in,
                                                          .out = s.out});
    linear_backward_weight(exec, BasicLinearBackwardWeight<T>{.x = xt.data(),
                                                              .dy = dyt.data(),
                                                              .dweight = dw.data(),
                                                              .mode = GradMode::add,
                                                              .dbias = dbias.data(),
                                                              .batch = s.batch,
                                                              .in = s.in,
                                                              .out = s.out});
    oracle::Matrix want = oracle::forward(s, x, w, &bias);
    for (double& v : want.value) v = std::tanh(v);
    expect(y, want, oracle::to_string(s) + " y");
    expect(dx, oracle::backward_data(s, dy, w), oracle::to_string(s) + " dx");
    want = oracle::backward_weight(s, x, dy);
    oracle::add_to(want, old);
    expect(dw, want, oracle::to_string(s) + " dW");
    expect(dbias, oracle::column_sums(oracle::matrix_of(dy), s.out), oracle::to_string(s) + " db");
  }
}

}  // namespace
}  // namespace elbo
