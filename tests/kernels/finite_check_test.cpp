#include "kernels/finite_check.h"

#include <gtest/gtest.h>

#include <cfloat>
#include <cmath>
#include <cstdint>
#include <vector>

#include "tests/support/device.h"
#include "tests/support/error_of.h"
#include "tests/support/values.h"

namespace elbo {
namespace {

class FiniteCheck : public DeviceTest {
 protected:
  template <class T>
  uint32_t bad_op_after(const std::vector<T>& x, uint32_t id, uint32_t before = 0,
                        size_t shift = 0) {
    StepState state;
    state.bad_op = before;
    DeviceBuffer<T> dx(device(), x, shift);
    DeviceBuffer<StepState> dstate(device(), std::vector<StepState>{state});
    check_finite(exec(), dx.data(), static_cast<int64_t>(x.size()), id, dstate.data());
    return dstate.download()[0].bad_op;
  }
};

TEST_P(FiniteCheck, FindsOneBadValueWhereverItIs) {
  const float bad[] = {NAN, INFINITY, -INFINITY};
  for (const int64_t n : kSizes) {
    for (const size_t shift : {0, 1}) {
      auto x = random_values(n, 1);
      EXPECT_EQ(bad_op_after(x, 7, 0, shift), 0u) << n;
      for (const int64_t at : {int64_t{0}, n / 2, n - 1}) {
        if (at < 0 || at >= n) continue;
        const float good = x[static_cast<size_t>(at)];
        x[static_cast<size_t>(at)] = bad[(n + at) % 3];
        EXPECT_EQ(bad_op_after(x, 7, 0, shift), 8u) << "at " << at << " of " << n;
        x[static_cast<size_t>(at)] = good;
      }
    }
  }
}

TEST_P(FiniteCheck, TellsBadFromExtreme) {
  EXPECT_EQ(bad_op_after<float>({FLT_MAX, -FLT_MAX, FLT_MIN, 1e-45f, -0.0f}, 0), 0u);
  EXPECT_EQ(bad_op_after<float>({0.0f, NAN}, 0), 1u);
}

TEST_P(FiniteCheck, LooksAtBf16) {
  std::vector<bf16> x = random_values<bf16>(100, 2);
  EXPECT_EQ(bad_op_after(x, 3), 0u);
  x[99] = from_float<bf16>(INFINITY);
  EXPECT_EQ(bad_op_after(x, 3), 4u);
}

TEST_P(FiniteCheck, TheSmallestIdStands) {
  const std::vector<float> bad = {NAN};
  EXPECT_EQ(bad_op_after(bad, 5, 3), 3u);
  EXPECT_EQ(bad_op_after(bad, 5, 9), 6u);
  EXPECT_EQ(bad_op_after<float>({1.0f}, 5, 9), 9u) << "a good op must not clear the word";
}

TEST_P(FiniteCheck, CountsBeyondOneChunkAndBlock) {
  auto x = random_values(300'000, 3);  // 37 CPU chunks; more than 256 blocks of 256 vectors
  EXPECT_EQ(bad_op_after(x, 0), 0u);
  x[299'999] = NAN;
  EXPECT_EQ(bad_op_after(x, 0), 1u);
}

TEST_P(FiniteCheck, RefusesNullAndSkipsNothing) {
  expect_no_launch();
  DeviceBuffer<StepState> state(device(), std::vector<StepState>(1));
  check_finite<float>(exec(), nullptr, 0, 1, nullptr);
  EXPECT_EQ(error_of([&] { check_finite<float>(exec(), nullptr, 4, 1, state.data()); }),
            "1: check_finite: x is null");
}

INSTANTIATE_TEST_SUITE_P(Devices, FiniteCheck, testing::ValuesIn(available_devices()), device_name);

}  // namespace
}  // namespace elbo
