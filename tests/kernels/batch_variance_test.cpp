#include "kernels/batch_variance.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/kernels/loss_oracle.h"
#include "tests/support/device.h"
#include "tests/support/error_of.h"
#include "tests/support/values.h"

namespace elbo {
namespace {

class BatchVarianceTest : public DeviceTest {
 protected:
  struct Result {
    double log_variance, running;
  };

  template <class T, class Target>
  Result run(const std::vector<T>& mean, const std::vector<Target>& target, int64_t rows,
             float running) {
    using R = Compute<T>;
    const auto cols = static_cast<int64_t>(mean.size()) / rows;
    DeviceBuffer<T> m(device(), mean);
    DeviceBuffer<Target> x(device(), target);
    DeviceBuffer<R> squares(device(), static_cast<size_t>(rows)),
        average(device(), std::vector{R(running)}), log_variance(device(), 1);
    batch_variance<T, Target>(exec(), {.mean = m.data(),
                                       .target = x.data(),
                                       .batch = rows,
                                       .dim = cols,
                                       .squares = squares.data(),
                                       .running = average.data(),
                                       .momentum = 0.25f,
                                       .log_variance = log_variance.data()});
    return {log_variance.download()[0], average.download()[0]};
  }

  template <class T, class Target>
  void check(MatrixShape shape) {
    const auto [rows, cols] = shape;
    const auto mean = random_values<T>(rows * cols, 1);
    const auto target = oracle::random_targets<Target>(rows * cols, 2);
    double squares = 0;
    for (size_t i = 0; i < mean.size(); ++i) {
      const double error = to_float(mean[i]) - oracle::grey(target[i]);
      squares += error * error;
    }
    const double variance = squares / static_cast<double>(rows * cols);
    const Result got = run<T, Target>(mean, target, rows, 2.0f);
    const double rounding = oracle::sum_tolerance<T>(cols) + oracle::sum_tolerance<T>(rows);
    EXPECT_NEAR(got.log_variance, std::log(variance), rounding + 4 * 0x1p-24)
        << rows << "x" << cols;
    EXPECT_NEAR(got.running, 0.25 * variance + 0.75 * 2, (rounding + 4 * 0x1p-24) * variance)
        << rows << "x" << cols;
  }
};

TEST_P(BatchVarianceTest, IsTheMeanSquaredErrorAndMovesTheRunningOne) {
  for (const MatrixShape shape : kMatrixShapes) {
    if (shape.rows * shape.cols == 0) continue;
    check<float, float>(shape);
    check<float, uint8_t>(shape);
    check<bf16, float>(shape);
    check<bf16, uint8_t>(shape);
  }
}

// The logarithm is one that the bound of log-variances gives back: below e^-10 it is stretched.
TEST_P(BatchVarianceTest, TinyVariancesPassTheBound) {
  for (const float error : {1e-2f, 1e-3f, 1e-4f}) {
    const Result got = run<float, float>({error, -error}, {0.0f, 0.0f}, 2, 1.0f);
    EXPECT_NEAR(oracle::bounded_logvar(got.log_variance), 2 * std::log(error), 1e-4) << error;
  }
  const Result none = run<float, float>({0.5f, 0.5f}, {0.5f, 0.5f}, 2, 1.0f);
  EXPECT_NEAR(oracle::bounded_logvar(none.log_variance), -19.0, 1e-4);
}

TEST_P(BatchVarianceTest, WithoutAMeanTheRunningOneIsTheVariance) {
  DeviceBuffer<float> running(device(), std::vector{0.3f}), log_variance(device(), 1);
  batch_variance<float, float>(
      exec(),
      {.batch = 3, .dim = 4, .running = running.data(), .log_variance = log_variance.data()});
  EXPECT_NEAR(log_variance.download()[0], std::log(0.3), 1e-6);  // a rounding of 1.2
  EXPECT_EQ(running.download()[0], 0.3f);
}

TEST_P(BatchVarianceTest, NanGivesNan) {
  const Result got = run<float, float>({NAN, 0.0f}, {0.0f, 0.0f}, 2, 1.0f);
  EXPECT_TRUE(std::isnan(got.log_variance) && std::isnan(got.running));
}

TEST_P(BatchVarianceTest, MissingPointersAreNamed) {
  expect_no_launch();
  DeviceBuffer<float> x(device(), std::vector{1.0f});
  EXPECT_EQ(error_of([&] {
              batch_variance<float, float>(exec(), {.batch = 1, .dim = 1, .running = x.data()});
            }),
            "1: batch_variance: a result is null");
  EXPECT_EQ(error_of([&] {
              batch_variance<float, float>(exec(), {.mean = x.data(),
                                                    .batch = 1,
                                                    .dim = 1,
                                                    .running = x.data(),
                                                    .log_variance = x.data()});
            }),
            "1: batch_variance: null operand");
}

INSTANTIATE_TEST_SUITE_P(Devices, BatchVarianceTest, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
