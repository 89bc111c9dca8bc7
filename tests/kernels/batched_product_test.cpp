// Batched products of every layout against plain sums in double, on every device.
#include "kernels/batched_product.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/device.h"
#include "tests/support/error_of.h"
#include "tests/support/values.h"

namespace elbo {
namespace {

struct Size {
  int64_t batch, rows, cols, inner;
};
// Around the tiles of both devices: 4 and 64 rows, 32 and 64 columns, panels of 128 and 16 steps.
const std::vector<Size> kSizes = {{1, 1, 1, 1},    {2, 3, 5, 7},   {3, 4, 32, 16}, {1, 65, 33, 17},
                                  {2, 7, 66, 129}, {1, 64, 64, 1}, {1, 6, 31, 260}};

class BatchedProductTest : public DeviceTest {
 protected:
  // What is read past the end must not get into a sum, be it multiplied by zero.
  template <class T>
  static std::vector<T> with_nan_behind(std::vector<T> values) {
    values.insert(values.end(), 1024, from_float<T>(Compute<T>(NAN)));
    return values;
  }

  template <class TA, class TB, class TC>
  void check(const Size& size, bool a_transposed, bool b_transposed, GradMode mode) {
    const auto [batch, rows, cols, inner] = size;
    const auto a = random_values<TA>(batch * rows * inner, 1);
    const auto b = random_values<TB>(batch * inner * cols, 2);
    const auto old = random_values<TC>(batch * rows * cols, 3);
    DeviceBuffer<TA> dev_a(device(), with_nan_behind(a));
    DeviceBuffer<TB> dev_b(device(), with_nan_behind(b));
    DeviceBuffer<TC> dev_c(device(), old);
    const double alpha = 0.75;
    const BatchedProduct<TA, TB, TC> args{batch,
                                          rows,
                                          cols,
                                          inner,
                                          dev_a.data(),
                                          rows * inner,
                                          a_transposed ? 1 : inner,
                                          a_transposed ? rows : 1,
                                          dev_b.data(),
                                          inner * cols,
                                          b_transposed ? 1 : cols,
                                          b_transposed ? inner : 1,
                                          dev_c.data(),
                                          static_cast<Compute<TC>>(alpha),
                                          mode};
    batched_product(exec(), args);
    std::vector<double> want;
    double magnitude = 1;
    for (int64_t n = 0; n < batch; ++n) {
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t s = 0; s < cols; ++s) {
          double sum = 0;
          for (int64_t k = 0; k < inner; ++k) {
            sum += static_cast<double>(
                       to_float(a[n * args.a_batch + r * args.a_row + k * args.a_col])) *
                   to_float(b[n * args.b_batch + k * args.b_row + s * args.b_col]);
          }
          const double before = mode == GradMode::add ? to_float(old[want.size()]) : 0.0;
          want.push_back(before + alpha * sum);
          magnitude = std::max(magnitude, std::abs(sum));
        }
      }
    }
    // fp32 sums of up to 260 products of order one.
    const double tolerance = std::is_same_v<TC, double> ? 1e-13 : 2e-6;
    expect_close(dev_c.download(), want, tolerance * magnitude,
                 std::is_same_v<TC, bf16> ? 0x1p-8 : 0.0,
                 concat(batch, " of ", rows, "x", cols, "x", inner, a_transposed ? " aT" : "",
                        b_transposed ? " bT" : ""));
  }
};

TEST_P(BatchedProductTest, MatchesPlainSumsInEveryLayout) {
  for (const Size& size : kSizes) {
    for (const bool a : {false, true}) {
      for (const bool b : {false, true}) {
        check<float, float, float>(size, a, b, GradMode::write);
        check<float, bf16, bf16>(size, a, b, GradMode::add);
      }
    }
    check<bf16, bf16, float>(size, false, true, GradMode::write);
    check<float, float, float>(size, true, false, GradMode::add);
    if (device() == Device::cpu) check<double, double, double>(size, false, true, GradMode::add);
  }
}

TEST_P(BatchedProductTest, NothingToSumIsZeroOrWhatWasThere) {
  check<float, float, float>({2, 3, 4, 0}, false, false, GradMode::write);
  check<float, float, float>({2, 3, 4, 0}, false, false, GradMode::add);
}

TEST_P(BatchedProductTest, EmptyResultsLaunchNothing) {
  expect_no_launch();
  check<float, float, float>({0, 3, 4, 2}, false, false, GradMode::write);
  check<float, float, float>({2, 0, 4, 2}, false, false, GradMode::write);
  check<float, float, float>({2, 3, 0, 2}, false, false, GradMode::write);
}

TEST_P(BatchedProductTest, RefusesMissingOperands) {
  expect_no_launch();
  DeviceBuffer<float> x(device(), 1);
  for (int missing = 0; missing < 3; ++missing) {
    const BatchedProduct<float, float, float> args{1,
                                                   1,
                                                   1,
                                                   1,
                                                   missing == 0 ? nullptr : x.data(),
                                                   1,
                                                   1,
                                                   1,
                                                   missing == 1 ? nullptr : x.data(),
                                                   1,
                                                   1,
                                                   1,
                                                   missing == 2 ? nullptr : x.data()};
    EXPECT_EQ(error_of([&] { batched_product(exec(), args); }), "1: batched_product: null operand");
  }
  if (device() != Device::cuda) return;
  const BatchedProduct<float, float, float> many{65536, 1,        1, 1, x.data(), 0,       0,
                                                 0,     x.data(), 0, 0, 0,        x.data()};
  EXPECT_NE(error_of([&] { batched_product(exec(), many); }).find("more than one launch takes"),
            std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Devices, BatchedProductTest, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
