#include "kernels/schedule.h"

#include <gtest/gtest.h>

#include <cmath>

namespace elbo {
namespace {

TEST(Schedule, ConstantIsTheBaseAtEveryStep) {
  Schedule s;
  s.base = 0.25f;
  for (uint64_t step : {0u, 1u, 1000000u}) EXPECT_EQ(schedule_value(s, step), 0.25f);
}

TEST(Schedule, WarmupStartsAtStartAndEndsAtBaseExactly) {
  Schedule s;
  s.kind = ScheduleKind::warmup;
  s.start = 0.5f;
  s.base = 1.5f;
  s.steps = 10;
  EXPECT_EQ(schedule_value(s, 0), 0.5f);
  EXPECT_EQ(schedule_value(s, 5), 1.0f);
  EXPECT_LT(schedule_value(s, 9), 1.5f);
  EXPECT_EQ(schedule_value(s, 10), 1.5f);
  EXPECT_EQ(schedule_value(s, 1000), 1.5f);
}

TEST(Schedule, WarmupOverNoStepsIsTheBase) {
  Schedule s;
  s.kind = ScheduleKind::warmup;
  EXPECT_EQ(schedule_value(s, 0), s.base);
}

TEST(Schedule, CyclicalRisesOverTheRatioThenHoldsAndRepeats) {
  Schedule s;
  s.kind = ScheduleKind::cyclical;
  s.start = 0.0f;
  s.base = 2.0f;
  s.steps = 8;
  s.ratio = 0.5f;
  const float cycle[8] = {0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 2.0f, 2.0f, 2.0f};
  for (uint64_t step = 0; step < 40; ++step) {
    EXPECT_EQ(schedule_value(s, step), cycle[step % 8]) << "step " << step;
  }
}

TEST(Schedule, CosineFallsFromBaseToStartByHalfACosine) {
  Schedule s;
  s.kind = ScheduleKind::cosine;
  s.base = 1e-3f;
  s.start = 1e-5f;
  s.steps = 100;
  EXPECT_EQ(schedule_value(s, 0), 1e-3f);
  EXPECT_EQ(schedule_value(s, 100), 1e-5f);
  EXPECT_EQ(schedule_value(s, 101), 1e-5f);
  for (uint64_t step = 0; step <= 100; ++step) {
    const double expected = 1e-5 + (1e-3 - 1e-5) * 0.5 * (1.0 + std::cos(M_PI * step / 100.0));
    EXPECT_NEAR(schedule_value(s, step), expected, 1e-9) << step;  // a few ulp of 1e-3
  }
}

TEST(Schedule, StagesHoldTheirValueUntilTheirEnd) {
  Schedule s;
  s.kind = ScheduleKind::stages;
  s.stage_count = 3;
  const int64_t until[3] = {10, 20, 30};
  const float value[3] = {3.0f, 2.0f, 1.0f};
  for (int i = 0; i < 3; ++i) {
    s.until[i] = until[i];
    s.value[i] = value[i];
  }
  EXPECT_EQ(schedule_value(s, 0), 3.0f);
  EXPECT_EQ(schedule_value(s, 9), 3.0f);
  EXPECT_EQ(schedule_value(s, 10), 2.0f);
  EXPECT_EQ(schedule_value(s, 19), 2.0f);
  EXPECT_EQ(schedule_value(s, 20), 1.0f);
  EXPECT_EQ(schedule_value(s, 1000), 1.0f);
}

TEST(Schedule, StagesWithoutAStageAreTheBase) {
  Schedule s;
  s.kind = ScheduleKind::stages;
  s.base = 7.0f;
  EXPECT_EQ(schedule_value(s, 3), 7.0f);
}

TEST(Schedule, StepsBeyond32BitsDoNotWrap) {
  Schedule s;
  s.kind = ScheduleKind::warmup;
  s.start = 0.0f;
  s.base = 1.0f;
  s.steps = int64_t{1} << 34;
  EXPECT_EQ(schedule_value(s, uint64_t{1} << 33), 0.5f);
}

}  // namespace
}  // namespace elbo
