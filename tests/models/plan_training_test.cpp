// Training with kernels that were chosen by timing: all choices fall in the first step, and with equal
// choices come equal bits, by graphs or plain launches, in one go or resumed.
#ifdef ELBO_HAS_CUDNN

#include <gtest/gtest.h>

#include "engine/plan_table.h"
#include "tests/models/trainer_fixture.h"
#include "tests/support/device.h"
#include "tests/support/error_of.h"

namespace elbo {
namespace {

using trainer_test::bytes_of;
using trainer_test::loaded;
using trainer_test::Recorder;
using trainer_test::Session;

class PlanTraining : public testing::Test {
 protected:
  void SetUp() override {
    if (!why_no_cuda().empty()) GTEST_SKIP() << why_no_cuda();
  }

  // 70 images: an epoch of four batches of 16 and one of 6, with an evaluation behind it.
  static RunConfig config(PlanMode mode = PlanMode::timed) {
    RunConfig config = trainer_test::tiny_config();
    config.model.kind = ModelKind::conv_vae;
    config.model.latent_dim = 3;
    config.model.encoder = {"conv 5 k4 s2 relu", "conv 6 k3 s2 silu", "linear 6 tanh"};
    config.model.decoder = {"linear flat relu", "convt 5 k3 s2 relu", "convt image k4 s2"};
    config.plan_mode = mode;
    config.train.epochs = 1;
    return config;
  }

  static PlanTable flipped(PlanTable table) {
    for (auto& [product, choice] : table) {
      if (choice == "own" || choice == "cudnn") choice = choice == "own" ? "cudnn" : "own";
    }
    return table;
  }
  static PlanTable all_of(PlanTable table, const std::string& choice) {
    for (auto& [product, chosen] : table) {
      if (product != "timed on") chosen = choice;
    }
    return table;
  }

  static PlanTable timed_table() {
    Session session(config(), Device::cuda);
    session.trainer.train_step();
    return session.trainer.snapshot().state.plan;
  }

  static std::vector<std::byte> train_with(const PlanTable& table, int graph_steps,
                                           int64_t epochs = 1) {
    RunConfig given = config();
    given.graph_steps = graph_steps;
    given.train.epochs = epochs;
    Session session(given, Device::cuda);
    EXPECT_EQ(load_plan_table(session.context, table, "table"), "");
    Recorder record;
    EXPECT_TRUE(session.trainer.run(record));
    EXPECT_EQ(session.trainer.snapshot().state.plan, table) << "nothing is timed again";
    return bytes_of(session.trainer.snapshot());
  }
};

TEST_F(PlanTraining, EverythingIsTimedInTheFirstStep) {
  Session session(config(), Device::cuda);
  EXPECT_TRUE(session.trainer.snapshot().state.plan.empty());
  session.trainer.evaluate(session.test);
  EXPECT_TRUE(session.trainer.snapshot().state.plan.empty()) << "only training times";
  session.trainer.train_step();
  const PlanTable table = session.trainer.snapshot().state.plan;
  // Forward, data (none for the images) and weight gradient of four layers. The last layer's forward is
  // fused with the likelihood: its kernel is the rule's.
  EXPECT_EQ(table.size(), 3u + 3u + 4u + 1u);
  EXPECT_TRUE(table.contains("conv to features 12x12x1 k4 s2 p1 -> 6x6x5 fp32+bias+relu"));
  EXPECT_TRUE(table.contains("conv weight 6x6x5 k3 s2 p1 -> 3x3x6 fp32"));
  EXPECT_TRUE(table.contains("convt weight 6x6x5 k3 s2 p1 -> 3x3x6 fp32+bias"));
  EXPECT_TRUE(table.contains("timed on"));
  Recorder record;
  session.trainer.run(record);
  EXPECT_EQ(session.trainer.snapshot().state.plan, table) << "last batches and evaluations too";
}

TEST_F(PlanTraining, TheSmallLastBatchOfAnEpochIsNotTimed) {
  Session first(config(PlanMode::heuristic), Device::cuda);
  for (int i = 0; i < 4; ++i) first.trainer.train_step();
  const TempDir dir;
  Session rest(config(), Device::cuda);
  rest.trainer.restore(loaded(first.trainer, dir));
  rest.trainer.train_step();
  EXPECT_TRUE(rest.trainer.snapshot().state.plan.empty()) << "a batch of 6, where most have 16";
  rest.trainer.train_step();
  EXPECT_FALSE(rest.trainer.snapshot().state.plan.empty());
}

TEST_F(PlanTraining, GraphsGiveTheBitsOfPlainLaunches) {
  const PlanTable table = timed_table();
  EXPECT_EQ(train_with(table, 2, 2), train_with(table, 0, 2));
}

TEST_F(PlanTraining, ARunResumedGoesOnWithItsChoicesFastOrSlow) {
  const TempDir dir;
  Session session(config(), Device::cuda);
  Recorder until_three;
  until_three.trainer = &session.trainer;
  until_three.stop_after = 3;
  EXPECT_FALSE(session.trainer.run(until_three));
  LoadedCheckpoint checkpoint = loaded(session.trainer, dir);
  Recorder to_the_end;
  EXPECT_TRUE(session.trainer.run(to_the_end));
  const Trainer::Snapshot& whole = session.trainer.snapshot();

  const auto go_on = [&](const PlanTable& table) {
    checkpoint.state.plan = table;
    Session rest(config(), Device::cuda);
    EXPECT_EQ(rest.trainer.restore(checkpoint), "");
    Recorder record;
    EXPECT_TRUE(rest.trainer.run(record));
    EXPECT_EQ(rest.trainer.snapshot().state.plan, table);
    return bytes_of(rest.trainer.snapshot());
  };
  EXPECT_EQ(go_on(whole.state.plan), bytes_of(whole));
  EXPECT_NE(go_on(flipped(whole.state.plan)), bytes_of(whole))
      << "the other choices are other bits";
}

TEST_F(PlanTraining, ByTheRuleNothingIsTimedAndFewChannelsAreOurs) {
  Session by_rule(config(PlanMode::heuristic), Device::cuda);
  Recorder record;
  EXPECT_TRUE(by_rule.trainer.run(record));
  EXPECT_TRUE(by_rule.trainer.snapshot().state.plan.empty());
  const PlanTable table = timed_table();
  const std::vector<std::byte> bytes = bytes_of(by_rule.trainer.snapshot());
  EXPECT_EQ(train_with(all_of(table, "own"), 1), bytes);
  EXPECT_NE(train_with(all_of(table, "cudnn"), 1), bytes);
}

TEST_F(PlanTraining, AForcedSideIsNotTimed) {
  RunConfig own = config();
  own.product_kernels = ProductKernels::own;
  Session session(own, Device::cuda);
  session.trainer.train_step();
  EXPECT_TRUE(session.trainer.snapshot().state.plan.empty());
}

TEST_F(PlanTraining, ATableOfAnotherDeviceOrNoTableIsNotObeyed) {
  const TempDir dir;
  Session session(config(), Device::cuda);
  session.trainer.train_step();
  LoadedCheckpoint checkpoint = loaded(session.trainer, dir);
  const std::string here = checkpoint.state.plan.at("timed on");
  checkpoint.state.plan["timed on"] = "another card";
  Session elsewhere(config(), Device::cuda);
  EXPECT_NE(elsewhere.trainer.restore(checkpoint).find("timing on \"another card\""),
            std::string::npos);
  EXPECT_TRUE(elsewhere.trainer.snapshot().state.plan.empty());
  elsewhere.trainer.train_step();
  EXPECT_EQ(elsewhere.trainer.snapshot().state.plan.at("timed on"), here);

  checkpoint.state.plan["timed on"] = here;
  checkpoint.state.plan.begin()->second = "sideways";
  const std::string error = error_of([&] { elsewhere.trainer.restore(checkpoint); });
  EXPECT_EQ(error.substr(0, 3), "4: ");
  EXPECT_NE(error.find("state.json: the plan of \"conv "), std::string::npos) << error;
  EXPECT_NE(error.find(" is \"sideways\", expected own, own-joint or cudnn"), std::string::npos)
      << error;
}

}  // namespace
}  // namespace elbo

#endif  // ELBO_HAS_CUDNN
