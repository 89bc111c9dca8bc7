// The fixture of the linear layer's tests: running a layer on the device under test, and the checks
// that hold with and without fused epilogues.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "kernels/linear.h"
#include "tests/kernels/linear_oracle.h"
#include "tests/support/device.h"

namespace elbo {

using oracle::kShapes;
using oracle::LinearShape;
using oracle::Matrix;
using oracle::Numbers;

inline constexpr GradMode kModes[] = {GradMode::write, GradMode::add};

// The buffer a gradient goes to, filled with what an add must keep and a write must not read.
struct GradBuffer {
  GradBuffer(Device device, const std::vector<float>& old, GradMode mode)
      : buffer(device, mode == GradMode::add ? old : std::vector<float>(old.size(), NAN)) {}
  float* data() { return buffer.data(); }

  DeviceBuffer<float> buffer;
};

class LinearTest : public DeviceTest {
 protected:
  // y and what forward saves, for a layer with these operands.
  struct Saved {
    DeviceBuffer<float> y;
    DeviceBuffer<std::byte> aux;
  };

  Saved run_forward(const LinearShape& s, const std::vector<float>& x, const std::vector<float>& w,
                    const std::vector<float>* bias, Activation activation) {
    const DeviceBuffer<float> xd(device(), x), wd(device(), w);
    const DeviceBuffer<float> bd(device(), bias ? *bias : std::vector<float>());
    Saved saved{
        DeviceBuffer<float>(device(), static_cast<size_t>(s.batch * s.out)),
        DeviceBuffer<std::byte>(device(), linear_aux_bytes(exec(), s.batch, s.out, activation))};
    linear_forward(exec(), LinearForward{.x = xd.data(),
                                         .weight = wd.data(),
                                         .bias = bias ? bd.data() : nullptr,
                                         .y = saved.y.data(),
                                         .aux = saved.aux.size() ? saved.aux.data() : nullptr,
                                         .batch = s.batch,
                                         .in = s.in,
                                         .out = s.out,
                                         .activation = activation});
    saved.y.download();  // before the operands go
    return saved;
  }

  std::vector<float> run_backward_data(const LinearShape& s, const std::vector<float>& dy,
                                       const std::vector<float>& w, const std::vector<float>& old,
                                       GradMode mode, const InputActivation* input) {
    const DeviceBuffer<float> dyd(device(), dy), wd(device(), w);
    GradBuffer dx(device(), old, mode);
    linear_backward_data(exec(), LinearBackwardData{.dy = dyd.data(),
                                                    .weight = wd.data(),
                                                    .dx = dx.data(),
                                                    .mode = mode,
                                                    .batch = s.batch,
                                                    .in = s.in,
                                                    .out = s.out,
                                                    .input = input});
    return dx.buffer.download();
  }

  void check_forward();
  void check_backward_data_with_input_activation();
  void check_backward_weight();
};

inline void check_mask(const LinearShape& s, const Matrix& pre,
                       const std::vector<std::byte>& mask) {
  const int64_t row_bits = (s.out + 127) / 128 * 128;
  ASSERT_EQ(static_cast<int64_t>(mask.size()), s.batch * row_bits / 8);
  for (int64_t i = 0; i < s.batch * s.out; ++i) {
    if (std::abs(pre.value[i]) <= 1e-4) continue;  // rounding may flip the sign
    const int64_t bit = i / s.out * row_bits + i % s.out;
    const bool set = (std::to_integer<int>(mask[bit / 8]) >> bit % 8 & 1) != 0;
    ASSERT_EQ(set, pre.value[i] > 0) << "mask of element " << i;
  }
}

inline void LinearTest::check_forward() {
  Numbers numbers(1);
  for (const LinearShape& s : kShapes) {
    const auto x = numbers(s.batch * s.in), w = numbers(s.in * s.out), bias = numbers(s.out);
    for (const Activation activation : kActivations) {
      for (const std::vector<float>* b : {&bias, static_cast<const std::vector<float>*>(nullptr)}) {
        const std::string what = oracle::to_string(s) + " " + activation_name(activation);
        const Matrix pre = oracle::forward(s, x, w, b);
        Matrix want = pre;
        for (double& v : want.value) v = oracle::activated(activation, v);
        const Saved saved = run_forward(s, x, w, b, activation);
        oracle::expect_near(saved.y.download(), want, what);
        const std::vector<std::byte> aux = saved.aux.download();
        if (needs_pre_activation(activation)) {
          std::vector<float> kept(aux.size() / sizeof(float));
          std::memcpy(kept.data(), aux.data(), aux.size());
          oracle::expect_near(kept, pre, what + ", kept pre-activation");
        } else if (!aux.empty()) {
          check_mask(s, pre, aux);
        }
      }
    }
  }
}

// The producer of x is a layer from 5 inputs; its forward makes x and aux as in a network.
inline void LinearTest::check_backward_data_with_input_activation() {
  Numbers numbers(4);
  for (const LinearShape& s : kShapes) {
    const LinearShape producer{s.batch, 5, s.in};
    const auto px = numbers(producer.batch * producer.in), pw = numbers(producer.in * s.in);
    const auto dy = numbers(s.batch * s.out), w = numbers(s.in * s.out), old = numbers(s.in);
    const Matrix pre = oracle::forward(producer, px, pw, nullptr);
    for (const Activation activation : kActivations) {
      ASSERT_TRUE(linear_can_fuse(exec(), activation));
      Saved saved = run_forward(producer, px, pw, nullptr, activation);
      Matrix want = oracle::backward_data(s, dy, w);
      for (size_t i = 0; i < want.value.size(); ++i) {
        want.value[i] *= oracle::slope(activation, pre.value[i]);
      }
      for (const GradMode mode : kModes) {
        const std::string what = oracle::to_string(s) + " " + activation_name(activation);
        GradBuffer dbias(device(), old, mode);
        const InputActivation input{.activation = activation,
                                    .y = saved.y.data(),
                                    .aux = saved.aux.size() ? saved.aux.data() : nullptr,
                                    .dbias = dbias.data(),
                                    .dbias_mode = mode};
        const std::vector<float> unused(s.batch * s.in);
        oracle::expect_near(run_backward_data(s, dy, w, unused, GradMode::write, &input), want,
                            what);
        Matrix sums = oracle::column_sums(want, s.in);
        if (mode == GradMode::add) oracle::add_to(sums, old);
        oracle::expect_near(dbias.buffer.download(), sums, what + ", dbias");
      }
    }
  }
}

inline void LinearTest::check_backward_weight() {
  Numbers numbers(6);
  for (const LinearShape& s : kShapes) {
    const auto x = numbers(s.batch * s.in), dy = numbers(s.batch * s.out);
    const auto old = numbers(s.in * s.out), old_bias = numbers(s.out);
    const DeviceBuffer<float> xd(device(), x), dyd(device(), dy);
    for (const GradMode mode : kModes) {
      for (const GradMode bias_mode : kModes) {
        for (const bool with_bias : {true, false}) {
          GradBuffer dw(device(), old, mode), dbias(device(), old_bias, bias_mode);
          linear_backward_weight(exec(),
                                 LinearBackwardWeight{.x = xd.data(),
                                                      .dy = dyd.data(),
                                                      .dweight = dw.data(),
                                                      .mode = mode,
                                                      .dbias = with_bias ? dbias.data() : nullptr,
                                                      .dbias_mode = bias_mode,
                                                      .batch = s.batch,
                                                      .in = s.in,
                                                      .out = s.out});
          Matrix want = oracle::backward_weight(s, x, dy);
          if (mode == GradMode::add) oracle::add_to(want, old);
          oracle::expect_near(dw.buffer.download(), want, oracle::to_string(s) + ", dW");
          if (!with_bias) continue;
          Matrix sums = oracle::column_sums(oracle::matrix_of(dy), s.out);
          if (bias_mode == GradMode::add) oracle::add_to(sums, old_bias);
          oracle::expect_near(dbias.buffer.download(), sums, oracle::to_string(s) + ", dbias");
        }
      }
    }
  }
}

}  // namespace elbo
