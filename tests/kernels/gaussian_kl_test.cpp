#include "kernels/gaussian_kl.h"

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

class GaussianKlTest : public DeviceTest {
 protected:
  // mu and logvar are halves of one matrix whose rows are `gap` elements longer than both.
  template <class T>
  void check_forward(MatrixShape s, int64_t gap, size_t shift) {
    using R = Compute<T>;
    const int64_t stride = 2 * s.cols + gap;
    const auto posterior = random_values<T>(s.rows * stride, 1, -3, 3);
    DeviceBuffer<T> p(device(), posterior, shift);
    DeviceBuffer<R> kl(device(), s.rows), kl_dim(device(), s.cols);
    gaussian_kl_forward<T>(
        exec(), {p.data(), p.data() + s.cols, stride, s.rows, s.cols, kl.data(), kl_dim.data()});
    std::vector<double> expected(s.rows, 0.0), expected_dim(s.cols, 0.0);
    for (int64_t row = 0; row < s.rows; ++row) {
      for (int64_t col = 0; col < s.cols; ++col) {
        const double mu = to_float(posterior[row * stride + col]);
        const double v = to_float(posterior[row * stride + s.cols + col]);
        expected[row] += oracle::gaussian_kl(mu, v);
        expected_dim[col] += oracle::gaussian_kl(mu, v) / static_cast<double>(s.rows);
      }
    }
    const std::string what = concat(s.rows, "x", s.cols, " gap ", gap, " shift ", shift);
    // Terms are positive. A column is summed in one chain on the CPU, so 16 times the lanes' bound.
    expect_close(kl.download(), expected, 1e-30, oracle::sum_tolerance<T>(s.cols), what + " kl");
    expect_close(kl_dim.download(), expected_dim, 1e-30, oracle::sum_tolerance<T>(16 * s.rows),
                 what + " kl_dim");
  }

  template <class T>
  void check_backward(MatrixShape s, int64_t gap, size_t shift, GradMode mode) {
    using R = Compute<T>;
    const int64_t stride = 2 * s.cols + gap;
    const auto posterior = random_values<T>(s.rows * stride, 1, -3, 3);
    const auto old = random_values<T>(s.rows * stride, 2);
    const auto weights = random_values<R>(s.rows, 3);
    DeviceBuffer<T> p(device(), posterior, shift), g(device(), old, shift);
    DeviceBuffer<R> w(device(), weights);
    gaussian_kl_backward<T>(exec(), {p.data(),
                                     p.data() + s.cols,
                                     stride,
                                     s.rows,
                                     s.cols,
                                     {w.data(), 1, R(0.5)},
                                     g.data(),
                                     g.data() + s.cols,
                                     stride,
                                     mode});
    std::vector<double> expected;
    for (int64_t i = 0; i < s.rows * stride; ++i) {
      const int64_t row = i / stride, col = i % stride;
      const double value = to_float(posterior[i]), weight = 0.5 * weights[row];
      const double gradient = weight * (col < s.cols ? value : 0.5 * std::expm1(value));
      const double held = to_float(old[i]);
      expected.push_back(col >= 2 * s.cols ? held
                                           : gradient + (mode == GradMode::add ? held : 0.0));
    }
    // Gradients are below 10 and four roundings; the old value is below 2.
    expect_close(g.download(), expected, 10 * 4 * 0x1p-24, oracle::kStore<T>,
                 concat(s.rows, "x", s.cols, " gap ", gap, " shift ", shift, " mode ",
                        static_cast<int>(mode)));
  }

  template <class T>
  void check_all() {
    std::vector<MatrixShape> shapes = kMatrixShapes;
    for (const int64_t size : kSizes) shapes.insert(shapes.end(), {{3, size}, {size, 3}});
    for (const MatrixShape s : shapes) {
      for (const size_t shift : {0, 1, 3}) check_forward<T>(s, 0, shift);
      check_forward<T>(s, 3, 0);
      check_backward<T>(s, 0, 1, GradMode::write);
      check_backward<T>(s, 3, 0, GradMode::add);
    }
  }
};

TEST_P(GaussianKlTest, FloatAgainstBruteForce) { check_all<float>(); }
TEST_P(GaussianKlTest, Bf16AgainstBruteForce) { check_all<bf16>(); }

TEST(GaussianKlOracle, DoubleAgainstBruteForce) {
  const auto mu = random_values<double>(21, 1), logvar = random_values<double>(21, 2);
  std::vector<double> kl(3), kl_dim(7), dm(21), dv(21);
  const double weight = 2.0;
  gaussian_kl_forward<double>(Exec{},
                              {mu.data(), logvar.data(), 7, 3, 7, kl.data(), kl_dim.data()});
  gaussian_kl_backward<double>(
      Exec{}, {mu.data(), logvar.data(), 7, 3, 7, {&weight, 0, 1.0}, dm.data(), dv.data(), 7});
  double expected = 0, of_rows = 0, of_columns = 0;
  for (int i = 0; i < 21; ++i) {
    expected += oracle::gaussian_kl(mu[i], logvar[i]);
    EXPECT_NEAR(dm[i], 2 * mu[i], 1e-15);
    EXPECT_NEAR(dv[i], std::expm1(logvar[i]), 1e-14);  // two roundings of values below 8
  }
  for (const double value : kl) of_rows += value;
  for (const double value : kl_dim) of_columns += 3 * value;
  EXPECT_NEAR(of_rows, expected, 1e-13);  // 21 terms near 1
  EXPECT_NEAR(of_columns, expected, 1e-13);
}

TEST_P(GaussianKlTest, IsZeroAtTheStandardNormalAndExactlyQuadraticBesideIt) {
  DeviceBuffer<float> mu(device(), {0.0f, 0.0f}), logvar(device(), {0.0f, 1e-6f});
  DeviceBuffer<float> kl(device(), 2);
  gaussian_kl_forward<float>(exec(), {mu.data(), logvar.data(), 1, 2, 1, kl.data()});
  EXPECT_EQ(kl.download()[0], 0.0f);
  EXPECT_NEAR(kl.download()[1] / 2.5e-13, 1.0,
              1e-6);  // v^2/4 to a few ulp, where subtraction has 0
}

TEST_P(GaussianKlTest, ExtremeLogVariancesStayFinite) {
  const std::vector<float> raw = {1e4f, -1e4f};
  DeviceBuffer<float> mu(device(), {0.0f, 0.0f}), logvar(device(), raw),
      w(device(), std::vector{1.0f});
  DeviceBuffer<float> kl(device(), 2), dm(device(), 2), dv(device(), 2);
  gaussian_kl_forward<float>(exec(), {mu.data(), logvar.data(), 1, 2, 1, kl.data()});
  gaussian_kl_backward<float>(
      exec(), {mu.data(), logvar.data(), 1, 2, 1, {w.data(), 0}, dm.data(), dv.data(), 1});
  for (int i = 0; i < 2; ++i) {
    const double v = oracle::bounded_logvar(raw[i]);
    // exp near 20 carries half an ulp of 20, 1e-6, into the result.
    EXPECT_NEAR(kl.download()[i] / oracle::gaussian_kl(0, raw[i]), 1.0, 3e-6);
    EXPECT_NEAR(dv.download()[i] / (0.5 * std::expm1(v) * 1e-6), 1.0, 3e-6);
  }
}

TEST_P(GaussianKlTest, NanStaysInItsRowAndColumn) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  DeviceBuffer<float> mu(device(), {0, nan, 0, 0}), logvar(device(), {0, 0, 0, 0});
  DeviceBuffer<float> kl(device(), 2), kl_dim(device(), 2);
  gaussian_kl_forward<float>(exec(), {mu.data(), logvar.data(), 2, 2, 2, kl.data(), kl_dim.data()});
  EXPECT_TRUE(std::isnan(kl.download()[0]) && std::isnan(kl_dim.download()[1]));
  EXPECT_TRUE(kl.download()[1] == 0.0f && kl_dim.download()[0] == 0.0f);
}

TEST_P(GaussianKlTest, EveryOrderOfThreadsGivesTheSameBits) {
  const int64_t rows = 70, cols = 260;
  const auto mu = random_values(rows * cols, 1), logvar = random_values(rows * cols, 2);
  const auto run = [&] {
    DeviceBuffer<float> m(device(), mu), v(device(), logvar);
    DeviceBuffer<float> kl(device(), rows), kl_dim(device(), cols);
    gaussian_kl_forward<float>(exec(),
                               {m.data(), v.data(), cols, rows, cols, kl.data(), kl_dim.data()});
    return bytes_of(kl.download()) + bytes_of(kl_dim.download());
  };
  for_each_order(device(), run);
  if (device() == Device::cpu) oracle::expect_same_bits_for_any_thread_count(run);
}

TEST_P(GaussianKlTest, NothingWantedOrAnEmptyBatchLaunchesNothing) {
  expect_no_launch();
  DeviceBuffer<float> x(device(), std::vector{1.0f});
  gaussian_kl_forward<float>(exec(), {x.data(), x.data(), 1, 1, 1});
  GaussianKlBackward<float> none{};
  none.dim = none.row_stride = none.grad_row_stride = 20;
  gaussian_kl_backward(exec(), none);
}

TEST_P(GaussianKlTest, MissingPointersAndShortStridesAreNamed) {
  expect_no_launch();
  DeviceBuffer<float> x(device(), {1.0f, 2.0f});
  const GaussianKlForward<float> no_mu{nullptr, x.data(), 2, 1, 2, x.data()};
  EXPECT_EQ(error_of([&] { gaussian_kl_forward(exec(), no_mu); }),
            "1: gaussian_kl_forward: mu is null");
  const GaussianKlForward<float> short_rows{x.data(), x.data(), 1, 1, 2, x.data()};
  EXPECT_EQ(error_of([&] { gaussian_kl_forward(exec(), short_rows); }),
            "1: gaussian_kl_forward: rows of 2 elements are 1 apart; the stride must be at least "
            "the length");
}

INSTANTIATE_TEST_SUITE_P(Devices, GaussianKlTest, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
