// The linear layer against brute-force double, on every device. Edge cases: linear_edge_test.cpp.
#include "kernels/linear.h"

#include <gtest/gtest.h>

#include "kernels/activation_op.h"
#include "tests/kernels/linear_fixture.h"

namespace elbo {
namespace {

TEST_P(LinearTest, ForwardWithoutAuxGivesTheSameOutput) {
  const LinearShape s{33, 31, 65};
  Numbers numbers(2);
  const auto x = numbers(s.batch * s.in), w = numbers(s.in * s.out), bias = numbers(s.out);
  const DeviceBuffer<float> xd(device(), x), wd(device(), w), bd(device(), bias);
  for (const Activation activation : kActivations) {
    DeviceBuffer<float> y(device(), static_cast<size_t>(s.batch * s.out));
    linear_forward(exec(), LinearForward{.x = xd.data(),
                                         .weight = wd.data(),
                                         .bias = bd.data(),
                                         .y = y.data(),
                                         .batch = s.batch,
                                         .in = s.in,
                                         .out = s.out,
                                         .activation = activation});
    EXPECT_EQ(y.download(), run_forward(s, x, w, &bias, activation).y.download())
        << activation_name(activation);
  }
}

TEST_P(LinearTest, BackwardDataIsTheProductWithTheWeights) {
  Numbers numbers(3);
  for (const LinearShape& s : kShapes) {
    const auto dy = numbers(s.batch * s.out), w = numbers(s.in * s.out);
    const auto old = numbers(s.batch * s.in);
    for (const GradMode mode : kModes) {
      Matrix want = oracle::backward_data(s, dy, w);
      if (mode == GradMode::add) oracle::add_to(want, old);
      oracle::expect_near(run_backward_data(s, dy, w, old, mode, nullptr), want,
                          oracle::to_string(s));
    }
  }
}

TEST_P(LinearTest, FusedBackwardEqualsTheTwoSteps) {
  const LinearShape s{65, 257, 33}, producer{65, 7, 257};
  Numbers numbers(5);
  const auto px = numbers(s.batch * producer.in), pw = numbers(producer.in * s.in);
  const auto dy = numbers(s.batch * s.out), w = numbers(s.in * s.out);
  const std::vector<float> unused(s.batch * s.in);
  for (const Activation activation : kActivations) {
    Saved saved = run_forward(producer, px, pw, nullptr, activation);
    DeviceBuffer<float> dbias(device(), static_cast<size_t>(s.in)),
        dbias2(device(), static_cast<size_t>(s.in));
    const void* aux = saved.aux.size() ? saved.aux.data() : nullptr;
    const InputActivation input{activation, saved.y.data(), aux, dbias.data(), GradMode::write};
    const auto fused = run_backward_data(s, dy, w, unused, GradMode::write, &input);
    DeviceBuffer<float> dx(device(), run_backward_data(s, dy, w, unused, GradMode::write, nullptr));
    activation_backward_bias(
        exec(),
        ActivationBackwardBias{
            .activation = activation,
            .batch = s.batch,
            .dim = s.in,
            .dy = dx.data(),
            .y = saved.y.data(),
            .pre = needs_pre_activation(activation) ? static_cast<const float*>(aux) : nullptr,
            .dx = dx.data(),
            .dbias = dbias2.data()});
    oracle::expect_near(fused, oracle::matrix_of(dx.download()), activation_name(activation));
    oracle::expect_near(dbias.download(), oracle::matrix_of(dbias2.download()),
                        activation_name(activation));
  }
}

TEST_P(LinearTest, BitsRepeat) {
  const LinearShape s{33, 130, 65};
  Numbers numbers(7);
  const auto x = numbers(s.batch * s.in), w = numbers(s.in * s.out), bias = numbers(s.out);
  const auto dy = numbers(s.batch * s.out);
  const std::vector<float> unused(s.batch * s.in);
  for_each_order(device(), [&] {
    std::vector<std::vector<float>> results;
    for (const Activation activation : {Activation::relu, Activation::silu}) {
      results.push_back(run_forward(s, x, w, &bias, activation).y.download());
    }
    results.push_back(run_backward_data(s, dy, w, unused, GradMode::write, nullptr));
    return results;
  });
}

TEST_P(LinearTest, ForwardIsActivationOfProductPlusBias) { check_forward(); }

TEST_P(LinearTest, BackwardDataUndoesTheInputsActivation) {
  check_backward_data_with_input_activation();
}

TEST_P(LinearTest, BackwardWeightIsTheProductWithTheInput) { check_backward_weight(); }

INSTANTIATE_TEST_SUITE_P(Devices, LinearTest, testing::ValuesIn(available_devices()), device_name);

}  // namespace
}  // namespace elbo
