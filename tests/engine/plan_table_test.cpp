// Choices of kernels as text: what a checkpoint keeps of them, and when they are not taken over.
#include "engine/plan_table.h"

#include <gtest/gtest.h>

#include "kernels/plan_choices.h"
#include "tests/support/error_of.h"

namespace elbo {
namespace {

// As if the device were another one; nothing here touches it.
struct Place {
  Context context;

  explicit Place(const std::string& name) { context.plans().set_place(name); }
};

TEST(PlanTable, SurvivesAsText) {
  Place first("card A"), second("card A");
  EXPECT_TRUE(plan_table(first.context).empty());
  first.context.plans().note("conv one", PlanChoice::own);
  first.context.plans().note("conv two", PlanChoice::cudnn);
  const PlanTable table = plan_table(first.context);
  EXPECT_EQ(table, (PlanTable{{"conv one", "own"}, {"conv two", "cudnn"}, {"timed on", "card A"}}));
  second.context.plans().note("conv three", PlanChoice::own);
  EXPECT_EQ(load_plan_table(second.context, table, "state.json"), "");
  EXPECT_EQ(second.context.plans().table(), first.context.plans().table());
  EXPECT_EQ(load_plan_table(second.context, {}, "state.json"), "");
  EXPECT_TRUE(second.context.plans().table().empty());
}

TEST(PlanTable, OfAnotherDeviceIsDroppedAndSaidSo) {
  Place here("card B");
  const std::string note =
      load_plan_table(here.context, {{"conv one", "own"}, {"timed on", "card A"}}, "state.json");
  EXPECT_EQ(note,
            "state.json: kernels were chosen by timing on \"card A\", and this is \"card B\"; they "
            "are timed anew, so numbers will differ in their last bits from those of an "
            "uninterrupted run");
  EXPECT_TRUE(here.context.plans().table().empty());
  EXPECT_NE(load_plan_table(here.context, {{"conv one", "own"}}, "state.json"), "");
  EXPECT_TRUE(here.context.plans().table().empty()) << "it does not say where it is from";
  // What nobody obeys need not be known.
  EXPECT_NE(load_plan_table(here.context, {{"conv one", "new"}, {"timed on", "card A"}}, "s"), "");
}

TEST(PlanTable, TheCpuHasNothingToChoose) {
  Context cpu;
  EXPECT_EQ(load_plan_table(cpu, {{"conv one", "new"}, {"timed on", "card A"}}, "state.json"), "");
  EXPECT_TRUE(cpu.plans().table().empty());
}

TEST(PlanTable, AChoiceThatIsNoneIsAnErrorAndChangesNothing) {
  Place here("card A");
  here.context.plans().note("conv one", PlanChoice::own);
  const PlanTable table = {
      {"conv one", "cudnn"}, {"conv two", "fast\nest"}, {"timed on", "card A"}};
  EXPECT_EQ(error_of([&] { load_plan_table(here.context, table, "runs/x/state.json"); }),
            "4: runs/x/state.json: the plan of \"conv two\" is \"fast\\x0aest\", expected own, "
            "own-joint or cudnn; the file is damaged, or a newer program wrote it");
  EXPECT_EQ(here.context.plans().table(), (PlanChoices::Table{{"conv one", PlanChoice::own}}));
}

TEST(PlanTable, TimingIsAllowedWithinAScopeOnly) {
  Context context;
  {
    const PlanTimingScope scope(context.plans(), true);
    EXPECT_TRUE(context.plans().timing_allowed());
  }
  EXPECT_FALSE(context.plans().timing_allowed());
  const PlanTimingScope scope(context.plans(), false);
  EXPECT_FALSE(context.plans().timing_allowed());
}

}  // namespace
}  // namespace elbo
