// The loop patterns of kernels/launch.h, with functors that record where they were called.
#include "kernels/launch.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/launch_cells.h"
#include "tests/kernels/loss_oracle.h"
#include "tests/support/device.h"
#include "tests/support/error_of.h"
#include "tests/support/values.h"

namespace elbo {
namespace {

// Around lanes, vectors, warps and blocks, and one that needs every block and a tail.
const std::vector<int64_t> kLengths = {0, 1, 31, 32, 33, 255, 256, 257, 1000, (1 << 20) + 1};

// Values in [-2, 2), spread by a multiplicative hash.
template <class T = float>
std::vector<T> spread_values(int64_t count, uint32_t seed) {
  std::vector<T> values;
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t hash = (static_cast<uint32_t>(i) + seed * 7919u) * 2654435761u;
    const Compute<T> value = static_cast<Compute<T>>(hash >> 8) * Compute<T>(0x1p-22) - 2;
    values.push_back(from_float<T>(value));
  }
  return values;
}

// Adds one to a counter per index, so that a missed index and a repeated one both show.
struct CountVisit {
  uint32_t* visits;

  ELBO_HD void operator()(int64_t i) const { visits[i] += static_cast<uint32_t>(i) + 1; }
};

struct CountCell {
  uint32_t* visits;
  int64_t cols;

  ELBO_HD void operator()(int64_t row, int64_t col) const {
    visits[row * cols + col] += static_cast<uint32_t>(row * 1000 + col) + 1;
  }
};

// y0 = x0 + 2 x1 + i, y1 = x0 - x1: which input, which element, which output.
struct Mix {
  template <class R>
  ELBO_HD void operator()(int64_t i, const R* x, R* y) const {
    y[0] = x[0] + R(2) * x[1] + static_cast<R>(i % 64);
    y[1] = x[0] - x[1];
  }
};

// Sums x and x^2 of a line (row or column) and stores y = x + row - 2 col.
template <class R>
struct LineSums {
  static constexpr int kSums = 2;
  R* sum;
  R* squares;

  ELBO_HD void operator()(int64_t row, int64_t col, const R* x, R* y, R* sums) const {
    y[0] = x[0] + static_cast<R>(row % 32) - R(2) * static_cast<R>(col % 32);
    sums[0] += x[0];
    sums[1] += x[0] * x[0];
  }
  ELBO_HD void finish(int64_t line, const R* sums) const {
    sum[line] = sums[0];
    squares[line] = sums[1];
  }
};

struct TotalSums {
  static constexpr int kSums = 2;
  double* totals;

  ELBO_HD void operator()(int64_t i, const float* x, float* sums) const {
    sums[0] += x[0];
    sums[1] += static_cast<float>(i % 16) * x[0];
  }
  ELBO_HD void finish(const double* sums) const {
    totals[0] = sums[0];
    totals[1] = sums[1];
  }
};

class LaunchTest : public DeviceTest {
 protected:
  template <class T>
  void check_map(int64_t n, size_t shift) {
    const auto a = spread_values<T>(n, 1), b = spread_values<T>(n, 2);
    DeviceBuffer<T> x0(device(), a, shift), x1(device(), b, shift), y0(device(), n, shift);
    DeviceBuffer<T> y1(device(), n, shift);
    map(exec(), n, Mix{}, PointerPack<const T, 2>{{x0.data(), x1.data()}},
        PointerPack<T, 2>{{y0.data(), y1.data()}});
    std::vector<T> expected0, expected1;
    for (int64_t i = 0; i < n; ++i) {
      Compute<T> x[2] = {to_float(a[i]), to_float(b[i])}, y[2];
      Mix{}(i, x, y);
      expected0.push_back(from_float<T>(y[0]));
      expected1.push_back(from_float<T>(y[1]));
    }
    EXPECT_TRUE(bytes_of(y0.download()) == bytes_of(expected0)) << n << " shift " << shift;
    EXPECT_TRUE(bytes_of(y1.download()) == bytes_of(expected1)) << n << " shift " << shift;
  }

  // Rows or columns, by what `launch` is.
  template <class T, class Launch>
  void check_lines(MatrixShape s, size_t shift, bool by_row, const Launch& launch) {
    using R = Compute<T>;
    const int64_t lines = by_row ? s.rows : s.cols;
    const auto values = spread_values<T>(s.rows * s.cols, 1);
    DeviceBuffer<T> x(device(), values, shift), y(device(), values.size(), shift);
    DeviceBuffer<R> sum(device(), lines), squares(device(), lines);
    launch(s, LineSums<R>{sum.data(), squares.data()}, PointerPack<const T, 1>{{x.data()}},
           PointerPack<T, 1>{{y.data()}});
    std::vector<double> expected(lines, 0.0), expected_squares(lines, 0.0), expected_y;
    for (int64_t i = 0; i < s.rows * s.cols; ++i) {
      const int64_t row = i / s.cols, col = i % s.cols, line = by_row ? row : col;
      const double value = to_float(values[i]);
      expected[line] += value;
      expected_squares[line] += value * value;
      expected_y.push_back(value + static_cast<double>(row % 32) - 2.0 * (col % 32));
    }
    const std::string what = concat(s.rows, "x", s.cols, " shift ", shift, " by row ", by_row);
    // |x| <= 2. The longest chain of additions is that of a CPU column: one per row.
    const double length = static_cast<double>(by_row ? s.cols : s.rows);
    const double rounding = length * (length + 8) * 0x1p-24;
    expect_close(sum.download(), expected, 2 * rounding, 0, what + " sum");
    expect_close(squares.download(), expected_squares, 4 * rounding, 0, what + " squares");
    expect_close(y.download(), expected_y, 100 * 0x1p-23, oracle::kStore<T>, what + " y");
  }

  template <class T>
  void check_all_lines() {
    const auto rows = [&](MatrixShape s, auto f, auto in, auto out) {
      row_reduce(exec(), s.rows, s.cols, f, in, out);
    };
    const auto cols = [&](MatrixShape s, auto f, auto in, auto out) {
      col_reduce(exec(), s.rows, s.cols, f, in, out);
    };
    std::vector<MatrixShape> shapes = kMatrixShapes;
    for (const int64_t size : kSizes) shapes.insert(shapes.end(), {{3, size}, {size, 3}});
    shapes.insert(shapes.end(), {{2, 5000}, {5000, 2}, {1000, 40}});
    for (const MatrixShape s : shapes) {
      for (const size_t shift : {0, 1, 2, 3}) {
        check_lines<T>(s, shift, true, rows);
        check_lines<T>(s, shift, false, cols);
      }
    }
  }

  std::vector<double> total(const std::vector<float>& values, size_t shift) {
    DeviceBuffer<float> x(device(), values, shift);
    DeviceBuffer<double> totals(device(), 2);
    reduce(exec(), static_cast<int64_t>(values.size()), TotalSums{totals.data()},
           PointerPack<const float, 1>{{x.data()}});
    return totals.download();
  }
};

TEST_P(LaunchTest, ForEachVisitsEveryIndexOnce) {
  for (const int64_t n : kLengths) {
    DeviceBuffer<uint32_t> visits(device(), std::vector<uint32_t>(n, 0));
    for_each(exec(), n, CountVisit{visits.data()});
    std::vector<uint32_t> expected;
    for (int64_t i = 0; i < n; ++i) expected.push_back(static_cast<uint32_t>(i) + 1);
    EXPECT_TRUE(visits.download() == expected) << n;
  }
}

TEST_P(LaunchTest, ForEachCellVisitsEveryCellOnce) {
  std::vector<MatrixShape> shapes = kMatrixShapes;
  shapes.insert(shapes.end(), {{1, 3000}, {3000, 1}, {520, 70}});
  for (const MatrixShape s : shapes) {
    DeviceBuffer<uint32_t> visits(device(), std::vector<uint32_t>(s.rows * s.cols, 0));
    for_each_cell<float>(exec(), s.rows, s.cols, CountCell{visits.data(), s.cols});
    std::vector<uint32_t> expected;
    for (int64_t i = 0; i < s.rows * s.cols; ++i) {
      expected.push_back(static_cast<uint32_t>(i / s.cols * 1000 + i % s.cols) + 1);
    }
    EXPECT_EQ(visits.download(), expected) << s.rows << "x" << s.cols;
  }
}

TEST_P(LaunchTest, MapIsElementWiseAtEveryLengthAndPlace) {
  for (const int64_t n : kLengths) {
    for (const size_t shift : {0, 1, 2, 3}) {
      check_map<float>(n, shift);
      if (n <= 1000) check_map<bf16>(n, shift);
    }
  }
}

TEST_P(LaunchTest, MapMayOverwriteItsInput) {
  const auto values = spread_values(1000, 1);
  DeviceBuffer<float> x(device(), values), other(device(), values), y(device(), values.size());
  map(exec(), 1000, Mix{}, PointerPack<const float, 2>{{x.data(), other.data()}},
      PointerPack<float, 2>{{x.data(), y.data()}});
  std::vector<float> expected;
  for (int64_t i = 0; i < 1000; ++i) {
    expected.push_back(values[i] + 2 * values[i] + static_cast<float>(i % 64));
  }
  EXPECT_EQ(x.download(), expected);
  EXPECT_EQ(y.download(), std::vector<float>(1000, 0.0f));
}

TEST_P(LaunchTest, RowAndColumnSumsInFloat) { check_all_lines<float>(); }
TEST_P(LaunchTest, RowAndColumnSumsInBf16) { check_all_lines<bf16>(); }

TEST_P(LaunchTest, RowsBeyondTheGridAreTakenInTurns) {
  const MatrixShape s{8448 + 40, 3};  // row_reduce launches at most 8448 blocks
  const auto values = spread_values(s.rows * s.cols, 1);
  DeviceBuffer<float> x(device(), values), y(device(), values.size());
  DeviceBuffer<float> sum(device(), s.rows), squares(device(), s.rows);
  row_reduce(exec(), s.rows, s.cols, LineSums<float>{sum.data(), squares.data()},
             PointerPack<const float, 1>{{x.data()}}, PointerPack<float, 1>{{y.data()}});
  std::vector<double> expected;
  for (int64_t row = 0; row < s.rows; ++row) {
    const float* v = values.data() + row * s.cols;
    expected.push_back(double{v[0]} + v[1] + v[2]);
  }
  expect_close(sum.download(), expected, 8 * 0x1p-23, 0, "sums");  // three terms below 2
}

TEST_P(LaunchTest, ASumOverNothingIsZero) {
  DeviceBuffer<float> sum(device(), 3), squares(device(), 3);
  const LineSums<float> f{sum.data(), squares.data()};
  const PointerPack<const float, 1> in{{nullptr}};
  const PointerPack<float, 1> out{{nullptr}};
  row_reduce(exec(), 3, 0, f, in, out);
  EXPECT_EQ(sum.download(), std::vector<float>(3, 0.0f));
  DeviceBuffer<float> sum_of_columns(device(), 3), squares_of_columns(device(), 3);
  col_reduce(exec(), 0, 3, LineSums<float>{sum_of_columns.data(), squares_of_columns.data()}, in,
             out);
  EXPECT_EQ(sum_of_columns.download(), std::vector<float>(3, 0.0f));
  EXPECT_EQ(total({}, 0), (std::vector<double>{0, 0}));
}

TEST_P(LaunchTest, ReduceSumsEverythingAtEveryLengthAndPlace) {
  for (const int64_t n : kLengths) {
    std::vector<float> values = spread_values(n, 3);
    for (float& value : values) value = std::abs(value);
    double expected[2] = {};
    for (int64_t i = 0; i < n; ++i) {
      expected[0] += values[i];
      expected[1] += static_cast<double>(i % 16) * values[i];
    }
    for (const size_t shift : {0, 1, 3}) {
      const auto totals = total(values, shift);
      // Terms are positive, and fp32 chains at most 8192 / 16 long before the sum goes on in fp64.
      EXPECT_NEAR(totals[0], expected[0], (512 + 8) * 0x1p-24 * expected[0]) << n << ' ' << shift;
      EXPECT_NEAR(totals[1], expected[1], (512 + 8) * 0x1p-24 * expected[1]) << n << ' ' << shift;
    }
  }
}

TEST_P(LaunchTest, ReduceLeavesItsTicketReadyForTheNext) {
  const auto values = spread_values(5000, 1);
  EXPECT_EQ(total(values, 0), total(values, 0));
}

TEST_P(LaunchTest, EveryOrderOfThreadsGivesTheSameBits) {
  const MatrixShape s{70, 301};
  const auto values = spread_values(s.rows * s.cols, 1);
  const auto rows = [&] {
    DeviceBuffer<float> x(device(), values), y(device(), values.size());
    DeviceBuffer<float> sum(device(), s.rows), squares(device(), s.rows);
    row_reduce(exec(), s.rows, s.cols, LineSums<float>{sum.data(), squares.data()},
               PointerPack<const float, 1>{{x.data()}}, PointerPack<float, 1>{{y.data()}});
    return bytes_of(sum.download()) + bytes_of(squares.download()) + bytes_of(y.download());
  };
  const auto columns = [&] {
    DeviceBuffer<float> x(device(), values), y(device(), values.size());
    DeviceBuffer<float> sum(device(), s.cols), squares(device(), s.cols);
    col_reduce(exec(), s.rows, s.cols, LineSums<float>{sum.data(), squares.data()},
               PointerPack<const float, 1>{{x.data()}}, PointerPack<float, 1>{{y.data()}});
    return bytes_of(sum.download()) + bytes_of(squares.download()) + bytes_of(y.download());
  };
  const auto all = [&] { return bytes_of(total(values, 0)) + bytes_of(total(values, 1)); };
  for (const std::function<std::string()>& run :
       std::vector<std::function<std::string()>>{rows, columns, all}) {
    for_each_order(device(), run);
    if (device() == Device::cpu) oracle::expect_same_bits_for_any_thread_count(run);
  }
}

TEST_P(LaunchTest, ReduceWithoutScratchSaysWhatItNeeds) {
  expect_no_launch();
  Exec bare = exec();
  bare.scratch = {};
  const std::string expected = device() == Device::cpu
                                   ? "1: reduce of 5 elements needs 8 bytes of scratch, has 0"
                                   : "1: reduce needs scratch and a ticket, has 0 bytes";
  EXPECT_EQ(error_of([&] {
              reduce(bare, 5, TotalSums{nullptr}, PointerPack<const float, 1>{{nullptr}});
            }),
            expected);
}

TEST_P(LaunchTest, EmptyRangesLaunchNothing) {
  expect_no_launch();
  for_each(exec(), 0, CountVisit{nullptr});
  for_each_cell<float>(exec(), 0, 5, CountCell{nullptr, 5});
  for_each_cell<float>(exec(), 5, 0, CountCell{nullptr, 0});
  map(exec(), 0, Mix{}, PointerPack<const float, 2>{}, PointerPack<float, 2>{});
  row_reduce(exec(), 0, 5, LineSums<float>{}, PointerPack<const float, 1>{},
             PointerPack<float, 1>{});
  col_reduce(exec(), 5, 0, LineSums<float>{}, PointerPack<const float, 1>{},
             PointerPack<float, 1>{});
}

TEST(LaunchOracle, SumsInDoubleKeepDoublePrecision) {
  const auto values = spread_values<double>(3 * 257, 1);
  std::vector<double> y(values.size()), sum(3), squares(3);
  row_reduce(Exec{}, 3, 257, LineSums<double>{sum.data(), squares.data()},
             PointerPack<const double, 1>{{values.data()}}, PointerPack<double, 1>{{y.data()}});
  for (int row = 0; row < 3; ++row) {
    double expected = 0, expected_squares = 0;
    for (int col = 0; col < 257; ++col) {
      expected += values[row * 257 + col];
      expected_squares += values[row * 257 + col] * values[row * 257 + col];
    }
    EXPECT_NEAR(sum[row], expected, 1e-12);  // 257 terms below 4, each addition 1e-16 of 500
    EXPECT_NEAR(squares[row], expected_squares, 1e-12);
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, LaunchTest, testing::ValuesIn(available_devices()), device_name);

}  // namespace
}  // namespace elbo
