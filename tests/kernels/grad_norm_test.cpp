#include "kernels/grad_norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/finite_check.h"
#include "tests/support/device.h"
#include "tests/support/error_of.h"
#include "tests/support/values.h"

namespace elbo {
namespace {

class GradNorm : public DeviceTest {
 protected:
  StepState measure(const std::vector<float>& grad, float max_norm, size_t shift = 0) {
    DeviceBuffer<float> dgrad(device(), grad, shift);
    DeviceBuffer<StepState> state(device(), std::vector<StepState>(1));
    grad_norm(exec(), dgrad.data(), static_cast<int64_t>(grad.size()), max_norm, state.data());
    return state.download()[0];
  }

  static double reference(const std::vector<float>& grad) {
    double sum = 0.0;
    for (const float g : grad) sum += static_cast<double>(g) * g;
    return std::sqrt(sum);
  }
};

TEST_P(GradNorm, IsTheL2Norm) {
  for (const int64_t n : kSizes) {
    for (const size_t shift : {0, 1}) {
      const auto grad = random_values(n, 1);
      const double want = reference(grad);
      // Squares are rounded (half an ulp), up to 64 of them summed in fp32 before fp64 takes over.
      EXPECT_NEAR(measure(grad, 0.0f, shift).grad_norm, want, 2e-6 * want) << n;
    }
  }
  const auto many = random_values(300'000, 2);
  // 512 summands per fp32 partial: random roundings, sqrt(512)/2 * 2^-24 relative.
  EXPECT_NEAR(measure(many, 0.0f).grad_norm, reference(many), 2e-6 * reference(many));
}

TEST_P(GradNorm, ScalesDownToTheLimitAndNeverUp) {
  const std::vector<float> grad = {3.0f, 4.0f};
  EXPECT_EQ(measure(grad, 0.0f).grad_scale, 1.0f);
  EXPECT_EQ(measure(grad, 10.0f).grad_scale, 1.0f);
  EXPECT_EQ(measure(grad, 1.0f).grad_scale, 1.0f / (5.0f + 1e-6f));
  EXPECT_EQ(measure({0.0f, 0.0f}, 1.0f).grad_scale, 1.0f);
  EXPECT_EQ(measure(grad, 1.0f).bad_op, 0u);
}

TEST_P(GradNorm, NonFiniteGradientsTripTheWire) {
  EXPECT_EQ(measure({1.0f, NAN}, 1.0f).bad_op, kGradNormOpId + 1);
  EXPECT_EQ(measure({1.0f, -INFINITY}, 0.0f).bad_op, kGradNormOpId + 1);
  EXPECT_EQ(measure({1e30f}, 0.0f).bad_op, kGradNormOpId + 1) << "its square overflows";
}

TEST_P(GradNorm, EveryThreadOrderGivesTheSameBits) {
  const auto grad = random_values(20'001, 3);
  for_each_order(device(), [&] {
    const StepState state = measure(grad, 0.5f);
    return std::vector<float>{state.grad_norm, state.grad_scale};
  });
}

TEST_P(GradNorm, RefusesWhatItCannotDo) {
  expect_no_launch();
  DeviceBuffer<StepState> state(device(), std::vector<StepState>(1));
  EXPECT_EQ(error_of([&] { grad_norm(exec(), nullptr, 1, 0.0f, state.data()); }),
            "1: grad_norm: grad is null");
  EXPECT_EQ(error_of([&] { grad_norm(exec(), nullptr, 0, -1.0f, state.data()); }),
            "1: grad_norm: max_norm is -1; it must be 0 (off) or positive");
}

INSTANTIATE_TEST_SUITE_P(Devices, GradNorm, testing::ValuesIn(available_devices()), device_name);

}  // namespace
}  // namespace elbo
