#include "kernels/gaussian_nll.h"

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

const double kLogTwoPi = std::log(2 * M_PI);

struct Case {
  MatrixShape shape;
  size_t shift = 0;
  bool nll = true, gradient = true, learned = false;
  GradMode mode = GradMode::write;
};

class GaussianNllTest : public DeviceTest {
 protected:
  template <class T, class Target>
  void check(const Case& c, double raw_logvar) {
    using R = Compute<T>;
    const auto [rows, cols] = c.shape;
    const auto mean = random_values<T>(rows * cols, 1), old = random_values<T>(rows * cols, 4);
    const auto target = oracle::random_targets<Target>(rows * cols, 2);
    const auto weights = random_values<R>(rows, 3);
    const auto raw = static_cast<R>(raw_logvar);
    DeviceBuffer<T> m(device(), mean, c.shift), dm(device(), old, c.shift);
    DeviceBuffer<Target> x(device(), target, c.shift);
    DeviceBuffer<R> w(device(), weights), lv(device(), std::vector{raw});
    DeviceBuffer<R> nll(device(), static_cast<size_t>(rows)), dlv(device(), nll.size());
    const R scale = R(0.25);
    gaussian_nll<T, Target>(exec(), {m.data(),
                                     x.data(),
                                     rows,
                                     cols,
                                     c.learned ? lv.data() : nullptr,
                                     static_cast<float>(raw),
                                     c.nll ? nll.data() : nullptr,
                                     c.gradient ? dm.data() : nullptr,
                                     c.learned ? dlv.data() : nullptr,
                                     {w.data(), 1, scale},
                                     c.mode});

    const double v = oracle::bounded_logvar(raw), precision = std::exp(-v);
    std::vector<double> squares(rows, 0.0), dmean(rows * cols);
    for (int64_t i = 0; i < rows * cols; ++i) {
      const double error = to_float(mean[i]) - oracle::grey(target[i]);
      squares[i / cols] += error * error;
      dmean[i] = scale * weights[i / cols] * error * precision +
                 (c.mode == GradMode::add ? to_float(old[i]) : 0.0);
    }
    const std::string what = concat(rows, "x", cols, " shift ", c.shift, " learned ", c.learned,
                                    " mode ", static_cast<int>(c.mode), " logvar ", raw_logvar);
    std::vector<double> expected_nll(rows), expected_dlv(rows);
    double largest = 1.0;  // of the two parts that nll adds
    for (int64_t row = 0; row < rows; ++row) {
      const double count = static_cast<double>(cols), fit = squares[row] * precision;
      expected_nll[row] = 0.5 * (fit + count * (v + kLogTwoPi));
      expected_dlv[row] =
          scale * weights[row] * 0.5 * (count - fit) * oracle::bounded_logvar_slope(raw);
      largest = std::max({largest, fit, count * (std::abs(v) + 2)});
    }
    const double rounding = oracle::sum_tolerance<T>(cols) * largest;
    if (c.nll) expect_close(nll.download(), expected_nll, rounding, 0, what + " nll");
    if (c.learned) expect_close(dlv.download(), expected_dlv, rounding, 0, what + " dlogvar");
    if (c.gradient) {
      // A weight below 1/2, an error below 3, a few roundings of the product and of the sum.
      expect_close(dm.download(), dmean, (4 * precision + 4) * 0x1p-24, oracle::kStore<T> + 0x1p-22,
                   what + " dmean");
    } else {
      EXPECT_EQ(bytes_of(dm.download()), bytes_of(old)) << what;
    }
  }

  template <class T, class Target>
  void check_all() {
    for (const MatrixShape shape : kMatrixShapes) {
      for (const size_t shift : {0, 1, 3}) {
        check<T, Target>({shape, shift, true, true, false, GradMode::write}, -1.5);
        check<T, Target>({shape, shift, true, true, true, GradMode::add}, 0.7);
      }
      check<T, Target>({shape, 0, true, false, false, GradMode::write}, 0.0);
      check<T, Target>({shape, 0, false, true, false, GradMode::write}, 0.0);
      check<T, Target>({shape, 0, false, true, false, GradMode::add}, 0.0);
      check<T, Target>({shape, 0, false, true, true, GradMode::write}, 12.0);
    }
    for (const int64_t size : kSizes) {
      check<T, Target>({{1, size}, 0, true, true, true, GradMode::write}, 0.3);
      check<T, Target>({{size, 3}, 0, true, true, false, GradMode::write}, 0.3);
    }
  }
};

TEST_P(GaussianNllTest, FloatAgainstBruteForce) { check_all<float, float>(); }
TEST_P(GaussianNllTest, FloatOfPixelsAgainstBruteForce) { check_all<float, uint8_t>(); }
TEST_P(GaussianNllTest, Bf16AgainstBruteForce) { check_all<bf16, float>(); }
TEST_P(GaussianNllTest, Bf16OfPixelsAgainstBruteForce) { check_all<bf16, uint8_t>(); }

TEST(GaussianNllOracle, DoubleAgainstBruteForce) {
  const auto mean = random_values<double>(33, 1), target = random_values<double>(33, 2);
  const double logvar = -0.4, weight = 3.0;
  double nll = 0, dlogvar = 0, squares = 0;
  std::vector<double> dm(33);
  gaussian_nll<double, double>(Exec{}, {mean.data(),
                                        target.data(),
                                        1,
                                        33,
                                        &logvar,
                                        0.0f,
                                        &nll,
                                        dm.data(),
                                        &dlogvar,
                                        {&weight, 0, 1.0}});
  for (size_t i = 0; i < 33; ++i) {
    squares += (mean[i] - target[i]) * (mean[i] - target[i]);
    EXPECT_NEAR(dm[i], 3 * (mean[i] - target[i]) * std::exp(0.4), 1e-14);  // a few roundings of 18
  }
  EXPECT_NEAR(nll, 0.5 * (squares * std::exp(0.4) + 33 * (logvar + kLogTwoPi)), 1e-12);  // of 100
  EXPECT_NEAR(dlogvar, 1.5 * (33 - squares * std::exp(0.4)), 1e-12);
}

TEST_P(GaussianNllTest, UnitVarianceIsHalfTheSquaredErrorAndTheConstant) {
  DeviceBuffer<float> m(device(), {1, 2, 3}), x(device(), {1, 1, 1}), nll(device(), 1);
  gaussian_nll<float, float>(exec(), {m.data(), x.data(), 1, 3, nullptr, 0.0f, nll.data()});
  EXPECT_NEAR(nll.download()[0], 2.5 + 1.5 * kLogTwoPi, 1e-6);  // two roundings of 5.3
}

TEST_P(GaussianNllTest, TheBestLogVarianceIsThatOfTheMeanSquaredError) {
  const std::vector<float> mean = {0.5f, -1.0f, 0.25f, 2.0f}, target = {0, 0, 0, 0}, one = {1};
  const double mse = (0.25 + 1.0 + 0.0625 + 4.0) / 4;
  DeviceBuffer<float> m(device(), mean), x(device(), target), w(device(), one);
  DeviceBuffer<float> lv(device(), std::vector{static_cast<float>(std::log(mse))}),
      dlv(device(), 1);
  gaussian_nll<float, float>(
      exec(),
      {m.data(), x.data(), 1, 4, lv.data(), 0.0f, nullptr, nullptr, dlv.data(), {w.data(), 0}});
  EXPECT_NEAR(dlv.download()[0], 0.0, 1e-6);  // the difference of two values of 2
}

TEST_P(GaussianNllTest, ExtremeLogVariancesStayFinite) {
  for (const float raw : {1e4f, -1e4f}) {
    DeviceBuffer<float> m(device(), std::vector{1.0f}), x(device(), std::vector{0.0f}),
        lv(device(), std::vector{raw});
    DeviceBuffer<float> w(device(), std::vector{1.0f}), nll(device(), 1), dm(device(), 1),
        dlv(device(), 1);
    gaussian_nll<float, float>(exec(), {m.data(),
                                        x.data(),
                                        1,
                                        1,
                                        lv.data(),
                                        0.0f,
                                        nll.data(),
                                        dm.data(),
                                        dlv.data(),
                                        {w.data(), 0}});
    const double v = oracle::bounded_logvar(raw);
    // exp of a value near 20 carries its half-ulp of 1e-6 into the result; a few more roundings.
    EXPECT_NEAR(nll.download()[0] / (0.5 * (std::exp(-v) + v + kLogTwoPi)), 1.0, 3e-6);
    EXPECT_NEAR(dm.download()[0] / std::exp(-v), 1.0, 3e-6);
    EXPECT_NEAR(dlv.download()[0] / (0.5 * (1 - std::exp(-v)) * 1e-6), 1.0, 3e-6);
  }
}

TEST_P(GaussianNllTest, NanStaysInItsRow) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  DeviceBuffer<float> m(device(), {0, nan, 0, 0}), x(device(), {0, 0, 0, 0});
  DeviceBuffer<float> w(device(), std::vector{1.0f}), nll(device(), 2), dm(device(), 4);
  gaussian_nll<float, float>(
      exec(),
      {m.data(), x.data(), 2, 2, nullptr, 0.0f, nll.data(), dm.data(), nullptr, {w.data(), 0}});
  const auto losses = nll.download(), gradient = dm.download();
  EXPECT_TRUE(std::isnan(losses[0]) && std::isnan(gradient[1]));
  EXPECT_FALSE(std::isnan(losses[1]) || std::isnan(gradient[0]) || std::isnan(gradient[2]));
}

TEST_P(GaussianNllTest, GradientMayReplaceTheMean) {
  const int64_t rows = 5, cols = 33;
  const auto mean = random_values(rows * cols, 1), target = random_values(rows * cols, 2);
  DeviceBuffer<float> m(device(), mean), x(device(), target), w(device(), std::vector{2.0f});
  DeviceBuffer<float> apart(device(), rows * cols), nll(device(), rows), nll2(device(), rows);
  GaussianNll<float, float> args{m.data(), x.data(),   rows,         cols,    nullptr,
                                 0.5f,     nll.data(), apart.data(), nullptr, {w.data(), 0}};
  gaussian_nll(exec(), args);
  args.dmean = m.data();
  args.nll = nll2.data();
  gaussian_nll(exec(), args);
  EXPECT_EQ(m.download(), apart.download());
  EXPECT_EQ(nll2.download(), nll.download());
}

TEST_P(GaussianNllTest, EveryOrderOfThreadsGivesTheSameBits) {
  const int64_t rows = 7, cols = 1000;
  const auto mean = random_values(rows * cols, 1), target = random_values(rows * cols, 2);
  const auto run = [&] {
    DeviceBuffer<float> m(device(), mean), x(device(), target), w(device(), std::vector{2.0f});
    DeviceBuffer<float> lv(device(), std::vector{0.3f}), dlv(device(), rows);
    DeviceBuffer<float> dm(device(), rows * cols), nll(device(), rows);
    gaussian_nll<float, float>(exec(), {m.data(),
                                        x.data(),
                                        rows,
                                        cols,
                                        lv.data(),
                                        0.0f,
                                        nll.data(),
                                        dm.data(),
                                        dlv.data(),
                                        {w.data(), 0}});
    return bytes_of(nll.download()) + bytes_of(dm.download()) + bytes_of(dlv.download());
  };
  for_each_order(device(), run);
  if (device() == Device::cpu) oracle::expect_same_bits_for_any_thread_count(run);
}

TEST_P(GaussianNllTest, AnEmptyBatchLaunchesNothing) {
  expect_no_launch();
  gaussian_nll<float, float>(exec(), {nullptr, nullptr, 0, 784});
}

TEST_P(GaussianNllTest, MissingPointersAreNamed) {
  expect_no_launch();
  DeviceBuffer<float> m(device(), std::vector{1.0f});
  const GaussianNll<float, float> no_mean{nullptr, m.data(), 1, 1};
  EXPECT_EQ(error_of([&] { gaussian_nll(exec(), no_mean); }), "1: gaussian_nll: mean is null");
  GaussianNll<float, float> no_weight{m.data(), m.data(), 1, 1};
  no_weight.dlog_variance = m.data();
  EXPECT_EQ(error_of([&] { gaussian_nll(exec(), no_weight); }),
            "1: gaussian_nll: a gradient is wanted and weight.values is null");
}

INSTANTIATE_TEST_SUITE_P(Devices, GaussianNllTest, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
