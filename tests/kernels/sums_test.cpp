#include "kernels/sums.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/finite_check.h"
#include "tests/support/device.h"
#include "tests/support/error_of.h"
#include "tests/support/values.h"

namespace elbo {
namespace {

// A fixed-order fp32 sum of n <= 1025 terms in [-2, 2]: at most 65 additions per lane, each off by
// at most 2^-24 of a partial sum; 1e-6 of the sum of magnitudes is 16 such errors in one direction.
constexpr double kSumError = 1e-6;

class Sums : public DeviceTest {
 protected:
  enum Axis { rows_axis, cols_axis, all_axis };

  template <class T>
  void check(MatrixShape shape, Axis axis, size_t shift, GradMode mode) {
    using R = Compute<T>;
    const R scale = R(0.25);
    const auto lines = static_cast<size_t>(axis == rows_axis   ? shape.rows
                                           : axis == cols_axis ? shape.cols
                                                               : 1);
    const auto x = random_values<T>(shape.rows * shape.cols, 1);
    const auto old = random_values<R>(static_cast<int64_t>(lines), 2);
    DeviceBuffer<T> dx(device(), x, shift);
    DeviceBuffer<R> dy(device(), old);
    std::vector<double> want(lines), magnitude(lines);
    for (int64_t r = 0; r < shape.rows; ++r) {
      for (int64_t c = 0; c < shape.cols; ++c) {
        const auto line = static_cast<size_t>(axis == rows_axis ? r : axis == cols_axis ? c : 0);
        const double v = to_float(x[static_cast<size_t>(r * shape.cols + c)]);
        want[line] += 0.25 * v;
        magnitude[line] += 0.25 * std::abs(v);
      }
    }
    if (axis == rows_axis)
      sum_rows(exec(), shape.rows, shape.cols, dx.data(), dy.data(), scale, mode);
    if (axis == cols_axis)
      sum_cols(exec(), shape.rows, shape.cols, dx.data(), dy.data(), scale, mode);
    if (axis == all_axis)
      sum_all(exec(), shape.rows * shape.cols, dx.data(), dy.data(), scale, mode);
    const auto got = dy.download();
    for (size_t i = 0; i < lines; ++i) {
      const double expected = want[i] + (mode == GradMode::add ? old[i] : R(0));
      EXPECT_NEAR(got[i], expected, kSumError * (magnitude[i] + std::abs(expected)))
          << shape.rows << " x " << shape.cols << " axis " << axis << " line " << i;
    }
  }

  template <class T>
  void check_all() {
    for (const MatrixShape shape : kMatrixShapes) {
      for (const Axis axis : {rows_axis, cols_axis, all_axis}) {
        check<T>(shape, axis, 0, GradMode::write);
        check<T>(shape, axis, 1, GradMode::add);
      }
    }
  }
};

TEST_P(Sums, RowsColumnsAndAllMatchDouble) { check_all<float>(); }

TEST_P(Sums, Bf16IsSummedInFp32) { check_all<bf16>(); }

TEST_P(Sums, DoubleServesTheOracle) {
  if (device() == Device::cpu) {
    check_all<double>();
  } else {
    expect_no_launch();
  }
}

TEST_P(Sums, ASumOverNothingIsZero) {
  DeviceBuffer<float> y(device(), 3);
  sum_rows<float>(exec(), 3, 0, nullptr, y.data());
  EXPECT_EQ(y.download(), std::vector<float>(3));
  sum_cols<float>(exec(), 0, 3, nullptr, y.data(), 1.0f, GradMode::add);
  EXPECT_EQ(y.download(), std::vector<float>(3));
  sum_all<float>(exec(), 0, nullptr, y.data());
  EXPECT_EQ(y.download()[0], 0.0f);
}

TEST_P(Sums, BroadcastsAreTheirGradients) {
  for (const MatrixShape shape : kMatrixShapes) {
    for (const GradMode mode : {GradMode::write, GradMode::add}) {
      for (const size_t shift : {0, 1}) {
        const int64_t cells = shape.rows * shape.cols;
        const auto by_row = random_values(shape.rows, 3), by_col = random_values(shape.cols, 4);
        const auto scalar = random_values(1, 5), old = random_values(cells, 6);
        DeviceBuffer<float> row(device(), by_row), col(device(), by_col), one(device(), scalar);
        DeviceBuffer<float> a(device(), old, shift), b(device(), old, shift),
            c(device(), old, shift);
        broadcast_rows(exec(), shape.rows, shape.cols, row.data(), a.data(), 0.5f, mode);
        broadcast_cols(exec(), shape.rows, shape.cols, col.data(), b.data(), 0.5f, mode);
        broadcast_all(exec(), cells, one.data(), c.data(), 0.5f, mode);
        std::vector<float> want_a(old.size()), want_b(old.size()), want_c(old.size());
        for (size_t i = 0; i < old.size(); ++i) {
          const float base = mode == GradMode::add ? old[i] : 0.0f;
          want_a[i] = base + 0.5f * by_row[i / static_cast<size_t>(shape.cols)];
          want_b[i] = base + 0.5f * by_col[i % static_cast<size_t>(shape.cols)];
          want_c[i] = base + 0.5f * scalar[0];
        }
        EXPECT_EQ(a.download(), want_a) << shape.rows << " x " << shape.cols;
        EXPECT_EQ(b.download(), want_b) << shape.rows << " x " << shape.cols;
        EXPECT_EQ(c.download(), want_c) << shape.rows << " x " << shape.cols;
      }
    }
  }
}

TEST_P(Sums, EveryThreadOrderGivesTheSameBits) {
  const auto x = random_values(67 * 129, 7);
  for_each_order(device(), [&] {
    DeviceBuffer<float> dx(device(), x), rows(device(), 67), cols(device(), 129), all(device(), 1);
    sum_rows(exec(), 67, 129, dx.data(), rows.data());
    sum_cols(exec(), 67, 129, dx.data(), cols.data());
    sum_all(exec(), 67 * 129, dx.data(), all.data());
    return std::vector<std::vector<float>>{rows.download(), cols.download(), all.download()};
  });
}

INSTANTIATE_TEST_SUITE_P(Devices, Sums, testing::ValuesIn(available_devices()), device_name);

}  // namespace
}  // namespace elbo
