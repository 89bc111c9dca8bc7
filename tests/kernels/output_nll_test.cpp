// The likelihoods of kernels/output_nll.h against the textbook forms in double, their gradients
// against differences of these, on every device.
#include "kernels/output_nll.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "tests/kernels/loss_oracle.h"
#include "tests/support/device.h"
#include "tests/support/error_of.h"
#include "tests/support/values.h"

namespace elbo {
namespace {

constexpr double kLogScale = -0.4;  // of the Laplace likelihood

double logistic_probability(double x, double location, double raw) {
  const double scale = std::exp(raw);
  const double upper = oracle::sigmoid((x + 1.0 / 510 - location) / scale);
  const double lower = oracle::sigmoid((x - 1.0 / 510 - location) / scale);
  return (x > 1 - 1.0 / 510 ? 1 : upper) - (x < 1.0 / 510 ? 0 : lower);
}

double textbook(int kind, double x, double first, double second) {
  switch (kind) {
    case 0:  // continuous Bernoulli; log((e^l - 1) / l) is l / 2 to the second order
      return (std::abs(first) < 1e-7 ? first / 2 : std::log(std::expm1(first) / first)) - first * x;
    case 1:
      return std::abs(x - first) / std::exp(kLogScale) + std::log(2 * std::exp(kLogScale));
    case 2:
      return 0.5 * ((x - first) * (x - first) / std::exp(second) + second + std::log(2 * M_PI));
    case 3:
      return -std::log(logistic_probability(x, first, second));
    default: {
      const double a = 1.0 / 64 + std::log(1 + std::exp(first));
      const double b = 1.0 / 64 + std::log(1 + std::exp(second)), t = (255 * x + 0.5) / 256;
      return std::lgamma(a) + std::lgamma(b) - std::lgamma(a + b) - (a - 1) * std::log(t) -
             (b - 1) * std::log(1 - t) - std::log(255.0 / 256);
    }
  }
}

struct Case {
  MatrixShape shape;
  size_t shift = 0;
  int64_t channels = 1;
  bool nll = true, gradient = true;
  GradMode mode = GradMode::write;
};

template <class T, class Target>
void launch(int kind, const Exec& exec, const OutputNll<T, Target>& args) {
  constexpr void (*kLaunchers[])(const Exec&, const OutputNll<T, Target>&) = {
      continuous_bernoulli_nll<T, Target>, laplace_nll<T, Target>, gaussian_diagonal_nll<T, Target>,
      logistic_nll<T, Target>, beta_nll<T, Target>};
  kLaunchers[kind](exec, args);
}

constexpr const char* kNames[] = {"continuous_bernoulli_nll", "laplace_nll",
                                  "gaussian_diagonal_nll", "logistic_nll", "beta_nll"};
constexpr int kKinds = 5;
int outputs_of(int kind) { return kind < 2 ? 1 : 2; }

class OutputNllTest : public DeviceTest {
 protected:
  template <class T, class Target>
  void check(int kind, const Case& c) {
    using R = Compute<T>;
    const auto [rows, cols] = c.shape;
    const int64_t outputs = outputs_of(kind), width = outputs * cols;
    const auto output = random_values<T>(rows * width, 1, -1.5, 1.5);
    const auto old = random_values<T>(rows * width, 4);
    const auto target = oracle::random_targets<Target>(rows * cols, 2);
    const auto weights = random_values<R>(rows, 3);
    DeviceBuffer<T> y(device(), output, c.shift), dy(device(), old, c.shift);
    DeviceBuffer<Target> x(device(), target, c.shift);
    DeviceBuffer<R> w(device(), weights), nll(device(), static_cast<size_t>(rows));
    const R scale = R(0.25);
    launch<T, Target>(kind, exec(),
                      {.output = y.data(),
                       .target = x.data(),
                       .batch = rows,
                       .dim = cols,
                       .channels = c.channels,
                       .log_scale = static_cast<float>(kLogScale),
                       .nll = c.nll ? nll.data() : nullptr,
                       .doutput = c.gradient ? dy.data() : nullptr,
                       .weight = {w.data(), 1, scale},
                       .mode = c.mode});

    std::vector<double> expected_nll(rows, 0.0), expected(rows * width), magnitude(rows, 1.0);
    for (int64_t i = 0; i < rows * cols; ++i) {
      const int64_t row = i / cols, col = i % cols, pixel = col / c.channels;
      const int64_t first = outputs == 1 ? i : row * width + col + pixel * c.channels;
      const int64_t second = outputs == 1 ? i : first + c.channels;
      const double a = to_float(output[first]), b = to_float(output[second]);
      const double grey = oracle::grey(target[i]), h = 1e-5;
      const double loss = textbook(kind, grey, a, b);
      expected_nll[row] += loss;
      magnitude[row] += std::abs(loss);
      const double weight = scale * weights[row];
      const auto set = [&](int64_t at, double slope) {
        expected[at] = weight * slope + (c.mode == GradMode::add ? to_float(old[at]) : 0.0);
      };
      set(first, (textbook(kind, grey, a + h, b) - textbook(kind, grey, a - h, b)) / (2 * h));
      if (outputs == 1) continue;
      set(second, (textbook(kind, grey, a, b + h) - textbook(kind, grey, a, b - h)) / (2 * h));
    }
    const std::string what = concat(kNames[kind], " ", rows, "x", cols, " shift ", c.shift,
                                    " channels ", c.channels, " mode ", static_cast<int>(c.mode));
    if (c.nll) {
      for (int64_t row = 0; row < rows; ++row) {
        // A value's term is a dozen roundings of up to eight.
        const double per_term = 12 * 8 * 0x1p-24 * static_cast<double>(cols);
        const double tolerance = per_term + oracle::sum_tolerance<T>(cols) * magnitude[row] + 1e-12;
        EXPECT_NEAR(nll.download()[row], expected_nll[row], tolerance) << what << " row " << row;
      }
    }
    if (c.gradient) {
      // Two dozen roundings of terms below 20, times a weight below 1/2; the differences are good
      // to 1e-9.
      expect_close(dy.download(), expected, 24 * 10 * 0x1p-24, oracle::kStore<T>, what);
    } else {
      EXPECT_EQ(bytes_of(dy.download()), bytes_of(old)) << what;
    }
  }

  template <class T, class Target>
  void check_all() {
    for (int kind = 0; kind < kKinds; ++kind) {
      for (const MatrixShape shape : kMatrixShapes) {
        for (const int64_t channels : {1, 3, 4, 5}) {
          if (shape.cols % channels != 0 || (channels > 1 && outputs_of(kind) == 1)) continue;
          check<T, Target>(kind, {shape, 0, channels, true, true, GradMode::write});
          check<T, Target>(kind, {shape, 1, channels, true, true, GradMode::add});
        }
        check<T, Target>(kind, {shape, 3, 1, true, false, GradMode::write});
        check<T, Target>(kind, {shape, 0, 1, false, true, GradMode::write});
      }
    }
  }
};

TEST_P(OutputNllTest, FloatAgainstTextbook) { check_all<float, float>(); }
TEST_P(OutputNllTest, FloatOfPixelsAgainstTextbook) { check_all<float, uint8_t>(); }
TEST_P(OutputNllTest, Bf16AgainstTextbook) { check_all<bf16, float>(); }
TEST_P(OutputNllTest, Bf16OfPixelsAgainstTextbook) { check_all<bf16, uint8_t>(); }

// Outputs that a diverging network may have: everything stays finite, on the device too.
TEST_P(OutputNllTest, ExtremeOutputsStayFinite) {
  const std::vector<float> output = {-1e4f, 1e4f, -300.0f, 300.0f, 0.0f, -1e4f, 1e4f, 50.0f};
  const std::vector<uint8_t> target = {0, 255, 128, 1};
  for (int kind = 0; kind < kKinds; ++kind) {
    const auto dim = static_cast<int64_t>(4);
    DeviceBuffer<float> y(device(), output), dy(device(), output.size()),
        w(device(), std::vector{1.0f}), nll(device(), 1);
    DeviceBuffer<uint8_t> x(device(), target);
    launch<float, uint8_t>(kind, exec(),
                           {.output = y.data(),
                            .target = x.data(),
                            .batch = 1,
                            .dim = dim,
                            .nll = nll.data(),
                            .doutput = dy.data(),
                            .weight = {w.data(), 0}});
    EXPECT_TRUE(std::isfinite(nll.download()[0])) << kNames[kind];
    const auto gradient = dy.download();
    for (int64_t i = 0; i < outputs_of(kind) * dim; ++i) {
      EXPECT_TRUE(std::isfinite(gradient[i])) << kNames[kind] << " " << i;
    }
  }
}

TEST_P(OutputNllTest, NanStaysInItsRow) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (int kind = 0; kind < kKinds; ++kind) {
    const int64_t width = 2 * outputs_of(kind);
    std::vector<float> output(2 * width, 0.3f);
    output[1] = nan;
    DeviceBuffer<float> y(device(), output), dy(device(), output.size()),
        w(device(), std::vector{1.0f});
    DeviceBuffer<float> x(device(), {0.1f, 0.2f, 0.3f, 0.4f}), nll(device(), 2);
    launch<float, float>(kind, exec(),
                         {.output = y.data(),
                          .target = x.data(),
                          .batch = 2,
                          .dim = 2,
                          .nll = nll.data(),
                          .doutput = dy.data(),
                          .weight = {w.data(), 0}});
    const auto losses = nll.download(), gradient = dy.download();
    EXPECT_TRUE(std::isnan(losses[0])) << kNames[kind];
    EXPECT_FALSE(std::isnan(losses[1]) || std::isnan(gradient.back())) << kNames[kind];
  }
}

TEST_P(OutputNllTest, GradientMayReplaceTheOutput) {
  const int64_t rows = 5, cols = 36;
  for (int kind = 0; kind < kKinds; ++kind) {
    const auto output = random_values(rows * cols * outputs_of(kind), 1);
    const auto target = random_values(rows * cols, 2, 0.0, 1.0);
    DeviceBuffer<float> y(device(), output), x(device(), target), w(device(), std::vector{2.0f});
    DeviceBuffer<float> apart(device(), output.size()), nll(device(), rows);
    OutputNll<float, float> args{.output = y.data(),
                                 .target = x.data(),
                                 .batch = rows,
                                 .dim = cols,
                                 .channels = 3,
                                 .nll = nll.data(),
                                 .doutput = apart.data(),
                                 .weight = {w.data(), 0}};
    launch(kind, exec(), args);
    args.doutput = y.data();
    launch(kind, exec(), args);
    EXPECT_EQ(y.download(), apart.download()) << kNames[kind];
  }
}

TEST_P(OutputNllTest, EveryOrderOfThreadsGivesTheSameBits) {
  const int64_t rows = 7, cols = 600;
  for (int kind = 0; kind < kKinds; ++kind) {
    const auto output = random_values(rows * cols * outputs_of(kind), 1);
    const auto target = random_values(rows * cols, 2, 0.0, 1.0);
    const auto run = [&] {
      DeviceBuffer<float> y(device(), output), x(device(), target), w(device(), std::vector{2.0f});
      DeviceBuffer<float> dy(device(), output.size()), nll(device(), rows);
      launch<float, float>(kind, exec(),
                           {.output = y.data(),
                            .target = x.data(),
                            .batch = rows,
                            .dim = cols,
                            .channels = 3,
                            .nll = nll.data(),
                            .doutput = dy.data(),
                            .weight = {w.data(), 0}});
      return bytes_of(nll.download()) + bytes_of(dy.download());
    };
    for_each_order(device(), run);
    if (device() == Device::cpu) oracle::expect_same_bits_for_any_thread_count(run);
  }
}

TEST_P(OutputNllTest, BadArgumentsAreNamedAndAnEmptyBatchLaunchesNothing) {
  expect_no_launch();
  DeviceBuffer<float> y(device(), {1.0f, 2.0f});
  const auto error = [&](int kind, const OutputNll<float, float>& args) {
    return error_of([&] { launch(kind, exec(), args); });
  };
  for (int kind = 0; kind < kKinds; ++kind) {
    const std::string name = concat("1: ", kNames[kind], ": ");
    launch<float, float>(kind, exec(),
                         {.output = nullptr, .target = nullptr, .batch = 0, .dim = 4});
    EXPECT_EQ(error(kind, {.output = nullptr, .target = y.data(), .batch = 1, .dim = 1}),
              name + "output is null");
    EXPECT_EQ(error(kind, {.output = y.data(), .target = nullptr, .batch = 1, .dim = 1}),
              name + "target is null");
    OutputNll<float, float> no_weight{.output = y.data(), .target = y.data(), .batch = 1, .dim = 1};
    no_weight.doutput = y.data();
    EXPECT_EQ(error(kind, no_weight), name + "a gradient is wanted and weight.values is null");
  }
  EXPECT_EQ(error(3, {.output = y.data(), .target = y.data(), .batch = 1, .dim = 4, .channels = 3}),
            "1: logistic_nll: 4 values per sample are not pixels of 3 channels");
  EXPECT_EQ(error(4, {.output = y.data(), .target = y.data(), .batch = 1, .dim = 1 << 22}),
            "1: beta_nll: 4194304 values per sample; expected less than 4194304");
}

// The pixel of a value is found by a multiplication that must round right up to the largest row.
TEST(PairLossPixels, AreThoseOfDivisionUpToTheLargestRow) {
  for (const int32_t channels : {1, 2, 3, 4, 5, 7, 13, 64, 1000, 4095}) {
    const float per_channel = 1.0f / static_cast<float>(channels);
    for (int32_t value = 0; value < 1 << 22; ++value) {
      const auto pixel = static_cast<int32_t>((static_cast<float>(value) + 0.5f) * per_channel);
      ASSERT_EQ(pixel, value / channels) << value << " / " << channels;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, OutputNllTest, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
