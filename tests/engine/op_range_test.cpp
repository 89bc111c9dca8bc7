#include "engine/op_range.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "engine/op_times.h"

namespace elbo {
namespace {

TEST(OpRange, PathsNamePhaseLayerAndOp) {
  EXPECT_EQ(op_path("bwd", "fc1", "linear_dweight"), "bwd/fc1/linear_dweight");
  EXPECT_EQ(op_path("fwd", "", "bernoulli_nll"), "fwd/bernoulli_nll");
  EXPECT_EQ(op_path("", "opt", "optimizer"), "opt/optimizer");
}

TEST(OpRange, WithoutAProfilerItDoesNothing) {
  const OpRange outer("fwd", "fc1", "linear");
  const OpRange inner("", "", "fill");
}

TEST(OpTimes, AddUpByPathTheSlowestFirst) {
  OpTimes times;
  const std::string same_label = "fc1";  // another address, as of another layer of that name
  times.add("fwd", "fc1", "linear", 0.25);
  times.add("bwd", "fc1", "linear", 1.0);
  times.add("fwd", "fc1", "linear", 0.25);
  times.add("fwd", same_label.c_str(), "linear", 0.125);
  const std::vector<OpTimes::Op> ops = times.ops();
  ASSERT_EQ(ops.size(), 2u);
  EXPECT_EQ(ops[0].path, "bwd/fc1/linear");
  EXPECT_EQ(ops[0].calls, 1);
  EXPECT_EQ(ops[1].path, "fwd/fc1/linear");
  EXPECT_EQ(ops[1].calls, 3);
  EXPECT_EQ(ops[1].seconds, 0.625);
}

TEST(OpTimes, ARangeAddsItsTimeAndStepsAddTheirs) {
  OpTimes times;
  {
    const OpTimes::Steps steps(&times, 3), nobody_listens(nullptr, 3);
    const OpRange range("fwd", "", "gather", &times);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  ASSERT_EQ(times.ops().size(), 1u);
  EXPECT_EQ(times.ops()[0].path, "fwd/gather");
  EXPECT_GE(times.ops()[0].seconds, 2e-3);
  EXPECT_EQ(times.steps(), 3);
  EXPECT_GE(times.seconds(), times.ops()[0].seconds);
}

}  // namespace
}  // namespace elbo
