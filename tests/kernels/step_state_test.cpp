#include "kernels/step_state.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/support/device.h"
#include "tests/support/error_of.h"

namespace elbo {
namespace {

StepRule rule_of(uint64_t samples, uint64_t batch, bool drop_last) {
  StepRule rule;
  rule.learning_rate.base = 1e-3f;
  rule.kl_weight.kind = ScheduleKind::warmup;
  rule.kl_weight.start = 0.0f;
  rule.kl_weight.base = 1.0f;
  rule.kl_weight.steps = 4;
  rule.samples = samples;
  rule.batch = batch;
  rule.drop_last = drop_last;
  return rule;
}

struct Place {
  uint64_t epoch, position;
  bool operator==(const Place&) const = default;
};

class StepStateTest : public DeviceTest {
 protected:
  StepState only(const DeviceBuffer<StepState>& buffer) { return buffer.download()[0]; }

  // Where each of `steps` steps starts.
  std::vector<Place> walk(const StepRule& rule, int steps) {
    DeviceBuffer<StepState> state(device(), std::vector<StepState>(1));
    std::vector<Place> places;
    for (int i = 0; i < steps; ++i) {
      const StepState now = only(state);
      EXPECT_EQ(now.step, static_cast<uint64_t>(i));
      places.push_back({now.epoch, now.position});
      advance_step(exec(), state.data(), rule);
    }
    return places;
  }
};

TEST_P(StepStateTest, PrepareSetsTheScheduledValuesAndNothingElse) {
  StepState before;
  before.step = 2;
  before.epoch = 7;
  before.position = 30;
  before.recon_weight = 0.5f;
  before.grad_norm = 9.0f;
  before.grad_scale = 0.25f;
  before.bad_op = 11;
  DeviceBuffer<StepState> state(device(), std::vector{before});
  prepare_step(exec(), state.data(), rule_of(100, 10, false));
  const StepState after = only(state);
  EXPECT_EQ(after.learning_rate, 1e-3f);
  EXPECT_EQ(after.kl_weight, 0.5f);
  EXPECT_EQ(after.step, 2u);
  EXPECT_EQ(after.epoch, 7u);
  EXPECT_EQ(after.position, 30u);
  EXPECT_EQ(after.recon_weight, 0.5f);
  EXPECT_EQ(after.grad_norm, 9.0f);
  EXPECT_EQ(after.grad_scale, 0.25f);
  EXPECT_EQ(after.bad_op, 11u);
}

TEST_P(StepStateTest, AdvanceRenewsTheSchedulesForTheNextStep) {
  DeviceBuffer<StepState> state(device(), std::vector<StepState>(1));
  const StepRule rule = rule_of(100, 10, false);
  const float expected[] = {0.25f, 0.5f, 0.75f, 1.0f, 1.0f};
  for (const float kl_weight : expected) {
    advance_step(exec(), state.data(), rule);
    EXPECT_EQ(only(state).kl_weight, kl_weight);
  }
}

TEST_P(StepStateTest, ASmallerLastBatchIsVisitedUnlessDropped) {
  EXPECT_EQ(walk(rule_of(10, 4, false), 5),
            (std::vector<Place>{{0, 0}, {0, 4}, {0, 8}, {1, 0}, {1, 4}}));
  EXPECT_EQ(walk(rule_of(10, 4, true), 5),
            (std::vector<Place>{{0, 0}, {0, 4}, {1, 0}, {1, 4}, {2, 0}}));
}

TEST_P(StepStateTest, BatchesThatDivideTheSamplesEndTheEpochExactly) {
  const std::vector<Place> places = {{0, 0}, {0, 4}, {1, 0}, {1, 4}};
  EXPECT_EQ(walk(rule_of(8, 4, false), 4), places);
  EXPECT_EQ(walk(rule_of(8, 4, true), 4), places);
}

TEST_P(StepStateTest, OneBatchMayBeTheWholeSetOrMore) {
  const std::vector<Place> places = {{0, 0}, {1, 0}, {2, 0}};
  EXPECT_EQ(walk(rule_of(8, 8, true), 3), places);
  EXPECT_EQ(walk(rule_of(8, 100, false), 3), places);
}

TEST_P(StepStateTest, RulesThatCannotStepAreRefused) {
  expect_no_launch();
  DeviceBuffer<StepState> state(device(), std::vector<StepState>(1));
  EXPECT_EQ(error_of([&] { advance_step(exec(), state.data(), rule_of(0, 4, false)); }),
            "1: advance_step: the rule has 0 samples in batches of 4; both must be positive");
  EXPECT_EQ(
      error_of([&] { advance_step(exec(), state.data(), rule_of(3, 4, true)); }),
      "1: advance_step: no batch of 4 fits in 3 samples; use a smaller batch or keep the last "
      "one");
  EXPECT_EQ(error_of([&] { prepare_step(exec(), nullptr, rule_of(3, 3, true)); }),
            "1: prepare_step: the step state is null");
}

INSTANTIATE_TEST_SUITE_P(Devices, StepStateTest, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
