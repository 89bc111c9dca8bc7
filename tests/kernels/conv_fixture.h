// The fixture of the convolutions' tests: running either op on the device under test, and the checks of
// forward and all gradients against the oracle.
#pragma once

#include "kernels/conv2d.h"
#include "tests/kernels/conv_oracle.h"
#include "tests/kernels/linear_fixture.h"

namespace elbo {

using oracle::ConvCase;

class ConvTest : public DeviceTest {
 protected:
  virtual const Exec& conv_exec() { return exec(); }

  std::vector<float> forward(const ConvCase& c, const std::vector<float>& x,
                             const std::vector<float>& weight, const std::vector<float>* bias) {
    const DeviceBuffer<float> xd(device(), x), wd(device(), weight);
    const DeviceBuffer<float> bd(device(), bias ? *bias : std::vector<float>());
    DeviceBuffer<float> y(device(), std::vector<float>(c.y_count(), NAN));
    const ConvForward args{.geometry = c.geometry,
                           .x = xd.data(),
                           .weight = wd.data(),
                           .bias = bias ? bd.data() : nullptr,
                           .y = y.data()};
    c.transpose ? conv_transpose2d_forward(conv_exec(), args) : conv2d_forward(conv_exec(), args);
    return y.download();
  }

  std::vector<float> backward_data(const ConvCase& c, const std::vector<float>& dy,
                                   const std::vector<float>& weight, GradMode mode,
                                   const std::vector<float>& old) {
    const DeviceBuffer<float> dyd(device(), dy), wd(device(), weight);
    GradBuffer dx(device(), old, mode);
    const ConvBackwardData args{.geometry = c.geometry,
                                .dy = dyd.data(),
                                .weight = wd.data(),
                                .dx = dx.data(),
                                .mode = mode};
    c.transpose ? conv_transpose2d_backward_data(conv_exec(), args)
                : conv2d_backward_data(conv_exec(), args);
    return dx.buffer.download();
  }

  struct WeightGradients {
    std::vector<float> dweight, dbias;
  };

  WeightGradients backward_weight(const ConvCase& c, const std::vector<float>& x,
                                  const std::vector<float>& dy, GradMode mode,
                                  const WeightGradients& old) {
    const DeviceBuffer<float> xd(device(), x), dyd(device(), dy);
    GradBuffer dweight(device(), old.dweight, mode), dbias(device(), old.dbias, mode);
    const ConvBackwardWeight args{.geometry = c.geometry,
                                  .x = xd.data(),
                                  .dy = dyd.data(),
                                  .dweight = dweight.data(),
                                  .mode = mode,
                                  .dbias = dbias.data(),
                                  .dbias_mode = mode};
    c.transpose ? conv_transpose2d_backward_weight(conv_exec(), args)
                : conv2d_backward_weight(conv_exec(), args);
    return {dweight.buffer.download(), dbias.buffer.download()};
  }

  static void add(oracle::Matrix& m, const std::vector<float>& term) {
    for (size_t i = 0; i < m.value.size(); ++i) {
      const float t = term[i % term.size()];
      m.value[i] += t;
      m.magnitude[i] += std::abs(t);
    }
  }

  // Forward with bias and the three gradients. Magnitudes bound the rounding of sums in any order.
  void expect_right(const ConvCase& c, uint32_t seed, GradMode mode,
                    double tolerance = oracle::kTolerance) {
    oracle::Numbers numbers(seed);
    const auto x = numbers(c.x_count()), dy = numbers(c.y_count());
    const auto weight = numbers(c.geometry.weight_size()), bias = numbers(c.y_size().channels);
    const auto old_dx = numbers(c.x_count());
    const WeightGradients old{numbers(c.geometry.weight_size()), numbers(c.y_size().channels)};
    const std::string name = oracle::to_string(c);

    oracle::Matrix y = oracle::convolve(c.geometry, c.transpose, x, weight);
    add(y, bias);
    oracle::expect_near(forward(c, x, weight, &bias), y, name + " y", tolerance);

    oracle::Matrix dx = oracle::convolve(c.geometry, !c.transpose, dy, weight);
    if (mode == GradMode::add) add(dx, old_dx);
    oracle::expect_near(backward_data(c, dy, weight, mode, old_dx), dx, name + " dx", tolerance);

    oracle::Matrix dw = c.transpose ? oracle::weight_gradient(c.geometry, dy, x)
                                    : oracle::weight_gradient(c.geometry, x, dy);
    oracle::Matrix db(c.y_size().channels);
    for (size_t i = 0; i < dy.size(); ++i) {
      oracle::add_term(db, static_cast<int64_t>(i) % c.y_size().channels, dy[i], 1.0f);
    }
    if (mode == GradMode::add) add(dw, old.dweight), add(db, old.dbias);
    const WeightGradients got = backward_weight(c, x, dy, mode, old);
    oracle::expect_near(got.dweight, dw, name + " dW", tolerance);
    oracle::expect_near(got.dbias, db, name + " dbias", tolerance);
  }
};

}  // namespace elbo
