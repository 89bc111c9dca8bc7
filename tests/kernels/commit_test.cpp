// Taking over a step's results, unless it went bad; on every device.
#include "kernels/commit.h"

#include <gtest/gtest.h>

#include <numeric>

#include "tests/support/device.h"
#include "tests/support/error_of.h"

namespace elbo {
namespace {

class CommitTest : public DeviceTest {
 protected:
  std::vector<uint32_t> numbers(size_t count, uint32_t first) {
    std::vector<uint32_t> values(count);
    std::iota(values.begin(), values.end(), first);
    return values;
  }
};

TEST_P(CommitTest, TakesOverEveryByteOfAGoodStep) {
  for (const size_t count : {4, 1024, 1028, 5000}) {
    const auto old = numbers(count, 7), made = numbers(count, 0x80000000u);
    DeviceBuffer<uint32_t> to(device(), old), from(device(), made);
    DeviceBuffer<StepState> state(device(), std::vector<StepState>(1));
    commit_bytes(exec(), to.data(), from.data(), 4 * count, state.data());
    EXPECT_EQ(to.download(), made) << count;
    EXPECT_EQ(from.download(), made) << count;
    to.upload(old);
    commit_bytes(exec(), to.data(), from.data(), 4 * count, nullptr);
    EXPECT_EQ(to.download(), made) << count << ", nobody to ask";
  }
}

TEST_P(CommitTest, LeavesEverythingOfABadStep) {
  const auto old = numbers(64, 1), made = numbers(64, 100);
  DeviceBuffer<uint32_t> to(device(), old), from(device(), made);
  for (const uint32_t bad_op : {1u, 0x80000000u}) {
    StepState bad;
    bad.bad_op = bad_op;
    DeviceBuffer<StepState> state(device(), std::vector<StepState>{bad});
    commit_bytes(exec(), to.data(), from.data(), 256, state.data());
    EXPECT_EQ(to.download(), old) << bad_op;
  }
}

TEST_P(CommitTest, RefusesWhatItCannotMove) {
  expect_no_launch();
  DeviceBuffer<float> a(device(), 8);
  commit_bytes(exec(), nullptr, nullptr, 0, nullptr);
  EXPECT_EQ(error_of([&] { commit_bytes(exec(), a.data(), nullptr, 16, nullptr); }),
            "1: commit_bytes: from is null");
  EXPECT_EQ(error_of([&] { commit_bytes(exec(), nullptr, a.data(), 16, nullptr); }),
            "1: commit_bytes: to is null");
  EXPECT_EQ(error_of([&] { commit_bytes(exec(), a.data(), a.data() + 4, 12, nullptr); }),
            "1: commit_bytes: 12 bytes are no multiple of 16");
}

INSTANTIATE_TEST_SUITE_P(Devices, CommitTest, testing::ValuesIn(available_devices()), device_name);

}  // namespace
}  // namespace elbo
