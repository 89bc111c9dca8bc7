#include "engine/op_range.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace elbo
