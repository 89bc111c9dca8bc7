// Work recorded as a graph: what is recorded, what is refused, and what a replay does. Training with and
// without graphs is in tests/models/graph_training_test.cpp.
#include "engine/step_graph.h"

#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>
#include <vector>

#include "engine/tape.h"
#include "kernels/elementwise.h"
#include "tests/support/device.h"
#include "tests/support/error_of.h"

namespace elbo {
namespace {

class StepGraphTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!why_no_cuda().empty()) GTEST_SKIP() << why_no_cuda();
    context_ = std::make_unique<Context>(DeviceChoice{Device::cuda, 0, ""});
    if (!StepGraph::available(*context_)) GTEST_SKIP() << "this build records no graphs";
    x_ = DeviceBlock(*context_, 8 * sizeof(float), Role::data);
    fill(context_->exec(), 8, 1.0f, x_.as<float>());
  }

  // x[half] *= 2, for half 0 or 1 of the eight values.
  void double_half(const Exec& exec, int half) {
    float* x = x_.as<float>() + 4 * half;
    scale(exec, 4, 2.0f, x, x);
  }
  std::vector<float> values() {
    std::vector<float> host(8);
    context_->download(host.data(), x_.data(), x_.bytes());
    return host;
  }

  std::unique_ptr<Context> context_;
  DeviceBlock x_;
};

TEST_F(StepGraphTest, RecordingRunsNothingAndReplaysRunEverything) {
  const StepGraph graph = StepGraph::record(*context_, [&] {
    EXPECT_TRUE(context_->recording());
    double_half(context_->exec(), 0);
    double_half(context_->exec(), 1);
    context_->fill_bytes(x_.data(), 0, 4);
  });
  EXPECT_FALSE(context_->recording());
  EXPECT_EQ(graph.kernel_count(), 2);
  EXPECT_EQ(graph.node_count(), 3);
  EXPECT_EQ(values(), std::vector<float>(8, 1.0f));
  graph.launch();
  graph.launch();
  EXPECT_EQ(values(), (std::vector<float>{0, 4, 4, 4, 4, 4, 4, 4}));
}

TEST_F(StepGraphTest, ABranchRunsBesideTheRestAndIsJoined) {
  const StepGraph graph = StepGraph::record(*context_, [&] {
    double_half(context_->exec(), 0);
    context_->fork();
    double_half(context_->branch(), 1);
    double_half(context_->exec(), 0);
    context_->join();
    scale(context_->exec(), 8, 0.5f, x_.as<float>(), x_.as<float>());
  });
  graph.launch();
  EXPECT_EQ(values(), (std::vector<float>{2, 2, 2, 2, 1, 1, 1, 1}));
}

TEST_F(StepGraphTest, WhatCannotBeRecordedIsAnErrorAndTheStreamGoesOn) {
  const std::string error =
      error_of([&] { StepGraph::record(*context_, [&] { context_->synchronize(); }); });
  EXPECT_NE(error.find("operation not permitted when stream is capturing"), std::string::npos)
      << error;
  EXPECT_EQ(error.substr(0, 3), "3: ");
  EXPECT_THROW(StepGraph::record(*context_, [] { throw std::runtime_error("body"); }),
               std::runtime_error);
  EXPECT_FALSE(context_->recording());
  double_half(context_->exec(), 0);
  EXPECT_EQ(values()[0], 2.0f);
}

TEST_F(StepGraphTest, AForgottenJoinIsAnError) {
  const std::string error = error_of([&] {
    StepGraph::record(*context_, [&] {
      context_->fork();
      double_half(context_->branch(), 0);
    });
  });
  EXPECT_NE(error.find("unjoined"), std::string::npos) << error;
}

TEST_F(StepGraphTest, TheTapeRecordsTheSecondCallAndReplaysTheThird) {
  Tape tape(*context_);
  tape.use_graphs(true);
  int calls = 0;
  const auto body = [&](Tape& t) {
    ++calls;
    t.op("double", {}, {}, [&](const Exec& exec) { double_half(exec, 0); });
  };
  tape.run_steps(1, 3, body);
  EXPECT_EQ(calls, 4) << "a dry run and three steps";
  EXPECT_EQ(tape.find_graph(1, 3), nullptr);
  tape.run_steps(1, 3, body);
  EXPECT_EQ(calls, 7) << "recorded";
  ASSERT_NE(tape.find_graph(1, 3), nullptr);
  EXPECT_EQ(tape.find_graph(1, 3)->kernel_count(), 3);
  tape.run_steps(1, 3, body);
  EXPECT_EQ(calls, 7) << "replayed";
  tape.run_steps(1, 1, body);
  EXPECT_EQ(calls, 8) << "another number of steps is another graph";
  EXPECT_EQ(values()[0], 1024.0f) << "3 + 3 + 3 + 1 steps";
}

TEST_F(StepGraphTest, AGraphDoesNotOutliveTheMemoryItNames) {
  Tape tape(*context_);
  tape.use_graphs(true);
  const auto body = [](int64_t n) {
    return [n](Tape& t) {
      const Tensor y = t.new_buffer({n}, DType::f32);
      t.op("fill", {}, {y}, [&](const Exec& exec) { fill(exec, n, 1.0f, y.as<float>()); });
    };
  };
  for (int i = 0; i < 2; ++i) tape.run_steps(1, 1, body(64));
  ASSERT_NE(tape.find_graph(1, 1), nullptr);
  tape.run_steps(2, 1, body(100000));  // needs a larger block, so the old one is gone
  EXPECT_EQ(tape.find_graph(1, 1), nullptr);
  tape.run_steps(1, 1, body(64));
  EXPECT_NE(tape.find_graph(1, 1), nullptr);
}

TEST(StepGraphOnCpu, IsNotAvailable) {
  Context context;
  EXPECT_FALSE(StepGraph::available(context));
  Tape tape(context);
  tape.use_graphs(true);
  int calls = 0;
  for (int i = 0; i < 3; ++i) tape.run_steps(1, 2, [&](Tape&) { ++calls; });
  EXPECT_EQ(calls, 7) << "a dry run and six steps";
  EXPECT_EQ(tape.find_graph(1, 2), nullptr);
}

}  // namespace
}  // namespace elbo
