#include "kernels/softmax.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "tests/support/device.h"
#include "tests/support/error_of.h"
#include "tests/support/values.h"

namespace elbo {
namespace {

template <class T>
double reference_logsumexp(const T* x, int64_t cols) {
  double largest = -HUGE_VAL, sum = 0.0;
  for (int64_t c = 0; c < cols; ++c) largest = std::max<double>(largest, to_float(x[c]));
  if (std::isinf(largest)) return largest;
  for (int64_t c = 0; c < cols; ++c) sum += std::exp(to_float(x[c]) - largest);
  return largest + std::log(sum);
}

std::string label(MatrixShape shape) {
  return std::to_string(shape.rows) + " x " + std::to_string(shape.cols);
}

// fp32: exp and log are within 2 ulp each and up to 65 of at most 1025 terms are summed one after
// the other, about 1e-6 of the sum, which the logarithm makes absolute. bf16 outputs keep 8 bits:
// 2^-8 of the value. In double 1e-13 is some hundred roundings.
template <class T>
constexpr double kAbsolute = std::is_same_v<T, double> ? 1e-13 : 2e-6;
template <class T>
constexpr double kRelative = std::is_same_v<T, bf16> ? 0x1p-8 : kAbsolute<T>;

class Softmax : public DeviceTest {
 protected:
  template <class T>
  void check_logsumexp(MatrixShape shape, size_t shift, GradMode mode) {
    using R = Compute<T>;
    const int64_t rows = shape.rows, cols = shape.cols;
    const auto x = random_values<T>(rows * cols, 1, -8.0, 8.0),
               old = random_values<T>(rows * cols, 2);
    const auto dy = random_values<R>(rows, 3);
    DeviceBuffer<T> dev_x(device(), x, shift), dev_dx(device(), old, shift);
    DeviceBuffer<R> dev_y(device(), static_cast<size_t>(rows)), dev_dy(device(), dy);
    logsumexp_forward(exec(), rows, cols, dev_x.data(), dev_y.data());
    logsumexp_backward(exec(), rows, cols, dev_x.data(), dev_y.data(), dev_dy.data(), dev_dx.data(),
                       mode);
    std::vector<double> y, dx;
    for (int64_t r = 0; r < rows; ++r) {
      y.push_back(reference_logsumexp(x.data() + r * cols, cols));
      for (int64_t c = 0; c < cols; ++c) {
        const auto i = static_cast<size_t>(r * cols + c);
        const double grad = dy[static_cast<size_t>(r)] * std::exp(to_float(x[i]) - y.back());
        dx.push_back(mode == GradMode::add ? to_float(old[i]) + grad : grad);
      }
    }
    // y is kept in Compute<T>, so bf16 inputs lose nothing more in it.
    expect_close(dev_y.download(), y, kAbsolute<R>, kAbsolute<R>, "logsumexp " + label(shape));
    expect_close(dev_dx.download(), dx, kAbsolute<T>, kRelative<T>, "gradient " + label(shape));
  }

  template <class T>
  void check_cross_entropy(MatrixShape shape, size_t shift, GradMode mode, int64_t weight_stride) {
    using R = Compute<T>;
    const int64_t rows = shape.rows, cols = shape.cols;
    const auto x = random_values<T>(rows * cols, 4, -8.0, 8.0),
               old = random_values<T>(rows * cols, 5);
    const auto weights = random_values<R>(std::max<int64_t>(rows, 1), 6);
    std::vector<int32_t> labels;
    for (int64_t r = 0; r < rows; ++r) labels.push_back(static_cast<int32_t>(r * 7 % cols));
    DeviceBuffer<T> dev_x(device(), x, shift), dev_dx(device(), old, shift);
    DeviceBuffer<R> dev_loss(device(), static_cast<size_t>(rows)), dev_weights(device(), weights);
    DeviceBuffer<int32_t> dev_labels(device(), labels);
    SoftmaxCrossEntropy<T> args{dev_x.data(), dev_labels.data(), rows, cols};
    args.loss = dev_loss.data();
    args.dlogits = dev_dx.data();
    args.weight = {dev_weights.data(), weight_stride, R(0.5)};
    args.mode = mode;
    softmax_cross_entropy(exec(), args);
    std::vector<double> loss, dx;
    for (int64_t r = 0; r < rows; ++r) {
      const double lse = reference_logsumexp(x.data() + r * cols, cols);
      const double weight = 0.5 * weights[static_cast<size_t>(r * weight_stride)];
      const int64_t hot = labels[static_cast<size_t>(r)];
      loss.push_back(lse - to_float(x[static_cast<size_t>(r * cols + hot)]));
      for (int64_t c = 0; c < cols; ++c) {
        const auto i = static_cast<size_t>(r * cols + c);
        const double grad = weight * (std::exp(to_float(x[i]) - lse) - (c == hot ? 1.0 : 0.0));
        dx.push_back(mode == GradMode::add ? to_float(old[i]) + grad : grad);
      }
    }
    // The loss is a difference of two numbers up to 16: an ulp of those is 1e-6.
    expect_close(dev_loss.download(), loss, 2 * kAbsolute<R>, kAbsolute<R>, "loss " + label(shape));
    expect_close(dev_dx.download(), dx, kAbsolute<T>, kRelative<T>, "dlogits " + label(shape));
  }

  template <class T>
  void check_all() {
    for (const MatrixShape shape : kMatrixShapes) {
      check_logsumexp<T>(shape, 0, GradMode::write);
      check_logsumexp<T>(shape, 1, GradMode::add);
      if (shape.cols == 0) continue;
      check_cross_entropy<T>(shape, 0, GradMode::write, 0);
      check_cross_entropy<T>(shape, 1, GradMode::add, 1);
    }
  }

  std::vector<float> logsumexp_of(const std::vector<float>& x, int64_t rows) {
    DeviceBuffer<float> dev_x(device(), x), dev_y(device(), static_cast<size_t>(rows));
    logsumexp_forward(exec(), rows, static_cast<int64_t>(x.size()) / rows, dev_x.data(),
                      dev_y.data());
    return dev_y.download();
  }
};

TEST_P(Softmax, FloatMatchesDouble) { check_all<float>(); }

TEST_P(Softmax, Bf16MatchesDouble) { check_all<bf16>(); }

TEST_P(Softmax, DoubleServesTheOracle) {
  if (device() == Device::cpu) {
    check_all<double>();
  } else {
    expect_no_launch();
  }
}

TEST_P(Softmax, ExtremesStayFinite) {
  EXPECT_EQ(logsumexp_of({1e4f, -1e4f}, 1)[0], 1e4f);
  EXPECT_EQ(logsumexp_of({-1e30f, -1e30f}, 1)[0], -1e30f);
  EXPECT_FLOAT_EQ(logsumexp_of({-1e4f, -1e4f}, 1)[0], -1e4f + std::log(2.0f));
  EXPECT_FLOAT_EQ(logsumexp_of({-INFINITY, 1.0f, 1.0f}, 1)[0], 1.0f + std::log(2.0f));
}

// Wherever a row's largest value stands, all others must be measured against it.
TEST_P(Softmax, TheLargestIsFoundInEveryColumn) {
  for (const int64_t cols : {5, 33, 100}) {
    std::vector<float> x(static_cast<size_t>(cols * cols), 0.0f);
    for (int64_t row = 0; row < cols; ++row) x[static_cast<size_t>(row * cols + row)] = 200.0f;
    EXPECT_EQ(logsumexp_of(x, cols), std::vector<float>(static_cast<size_t>(cols), 200.0f)) << cols;
  }
}

// 1056 blocks of eight warps, each with a row.
TEST_P(Softmax, RowsBeyondTheGridAreTakenInTurns) {
  const int64_t rows = 1056 * 8 + 20;
  std::vector<float> x;
  for (int64_t row = 0; row < rows; ++row) x.push_back(static_cast<float>(row));
  EXPECT_EQ(logsumexp_of(x, rows), x) << "one column: its own value";
}

TEST_P(Softmax, InfinitiesAndNansAreWhatTheLimitSays) {
  EXPECT_EQ(logsumexp_of({-INFINITY, -INFINITY}, 1)[0], -INFINITY);
  EXPECT_EQ(logsumexp_of({INFINITY, 0.0f}, 1)[0], INFINITY);
  EXPECT_TRUE(std::isnan(logsumexp_of({NAN, 0.0f}, 1)[0]));
  EXPECT_TRUE(std::isnan(logsumexp_of({0.0f, 1.0f, NAN}, 1)[0]));
  DeviceBuffer<float> y(device(), 2);
  logsumexp_forward<float>(exec(), 2, 0, nullptr, y.data());
  EXPECT_EQ(y.download(), (std::vector<float>{-INFINITY, -INFINITY})) << "the log of an empty sum";
}

TEST_P(Softmax, ALabelOutsideTheClassesSpoilsItsRowOnly) {
  const auto x = random_values(4 * 3, 7);
  DeviceBuffer<float> logits(device(), x), dlogits(device(), x.size()), loss(device(), 4);
  DeviceBuffer<float> weight(device(), std::vector<float>{1.0f});
  DeviceBuffer<int32_t> labels(device(), std::vector<int32_t>{0, 3, -1, 2});
  SoftmaxCrossEntropy<float> args{logits.data(), labels.data(), 4, 3, loss.data(), dlogits.data()};
  args.weight.values = weight.data();
  softmax_cross_entropy(exec(), args);
  const auto got = loss.download(), grad = dlogits.download();
  for (size_t r = 0; r < 4; ++r) {
    const bool bad = r == 1 || r == 2;
    EXPECT_EQ(std::isnan(got[r]), bad) << r;
    for (size_t c = 0; c < 3; ++c) EXPECT_EQ(std::isnan(grad[3 * r + c]), bad) << r;
  }
}

TEST_P(Softmax, TheGradientMayReplaceTheLogits) {
  const auto x = random_values(33 * 77, 8);
  const auto run = [&](bool in_place) {
    DeviceBuffer<float> logits(device(), x), apart(device(), x.size()), loss(device(), 33);
    DeviceBuffer<float> weight(device(), std::vector<float>{1.0f});
    DeviceBuffer<int32_t> labels(device(), std::vector<int32_t>(33, 5));
    DeviceBuffer<float>& gradient = in_place ? logits : apart;
    SoftmaxCrossEntropy<float> args{logits.data(), labels.data(),  33, 77,
                                    loss.data(),   gradient.data()};
    args.weight.values = weight.data();
    softmax_cross_entropy(exec(), args);
    return std::vector<std::vector<float>>{gradient.download(), loss.download()};
  };
  EXPECT_EQ(run(true), run(false));
  // One lane reads the label's logit, which another one replaces: any order must do.
  for_each_order(device(), [&] { return run(true); });
}

TEST_P(Softmax, EveryThreadOrderGivesTheSameBits) {
  const auto x = random_values(19 * 131, 9);
  for_each_order(device(), [&] { return logsumexp_of(x, 19); });
}

TEST_P(Softmax, RefusesWhatItCannotDo) {
  expect_no_launch();
  DeviceBuffer<float> x(device(), 4);
  DeviceBuffer<int32_t> labels(device(), 1);
  SoftmaxCrossEntropy<float> args{x.data(), labels.data(), 1, 4};
  EXPECT_EQ(error_of([&] { softmax_cross_entropy(exec(), args); }),
            "1: softmax_cross_entropy: neither loss nor dlogits is given");
  args.dlogits = x.data();
  EXPECT_EQ(error_of([&] { softmax_cross_entropy(exec(), args); }),
            "1: softmax_cross_entropy: dlogits without weights");
}

INSTANTIATE_TEST_SUITE_P(Devices, Softmax, testing::ValuesIn(available_devices()), device_name);

}  // namespace
}  // namespace elbo
