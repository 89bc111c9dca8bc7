#include "tests/kernels/conv_fixture.h"

namespace elbo {
namespace {

using oracle::random_conv_cases;

class Conv2dTest : public ConvTest {};
INSTANTIATE_TEST_SUITE_P(Devices, Conv2dTest, testing::ValuesIn(available_devices()), device_name);

TEST_P(Conv2dTest, RandomShapesAgreeWithTheOracle) {
  uint32_t seed = 0;
  for (const ConvCase& c : random_conv_cases(2024, 320)) {
    if (++seed % kCaseStep != 0) continue;
    expect_right(c, seed, seed % 3 == 0 ? GradMode::add : GradMode::write);
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace elbo
