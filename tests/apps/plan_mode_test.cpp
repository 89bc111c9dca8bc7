// --plan-mode as a user meets it: what a run's log names, what a resumed run may not change, and tools.
#include <gtest/gtest.h>

#include <algorithm>

#include "apps/trained_run.h"
#include "engine/plan_table.h"
#include "tests/apps/program_fixture.h"
#include "tests/support/device.h"

namespace elbo {
namespace {

using namespace testing_apps;

class PlanModeRuns : public ProgramTest {
 protected:
  void SetUp() override {
#ifndef ELBO_HAS_CUDNN
    GTEST_SKIP() << "built without cuDNN";
#endif
    if (!why_no_cuda().empty()) GTEST_SKIP() << why_no_cuda();
  }

  static const Strings& model() {
    static const Strings arguments = {"--set", "model.kind=conv-vae",
                                      "--set", "model.encoder=conv 3 k4 s2 relu, linear 6 tanh",
                                      "--set", "model.decoder=linear flat relu, convt image k4 s2"};
    return arguments;
  }
  Strings conv_run(const std::string& out) const {
    Strings arguments = tiny_run(out) + model() + Strings{"--sample-interval", "0"};
    *std::find(arguments.begin(), arguments.end(), "cpu") = "cuda";
    return arguments;
  }
  std::string log_of(const std::string& run) const {
    return read_file_text(path(run + "/train.log"));
  }
  static size_t count(const std::string& text, const std::string& what) {
    size_t found = 0;
    for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1))
      ++found;
    return found;
  }
};

TEST_F(PlanModeRuns, TheLogNamesTheChoicesOnceAndAResumedRunKeepsThem) {
  ASSERT_EQ(run_in_process(conv_run("a") + Strings{"--max-steps", "4"}).status, 0);
  const std::string log = log_of("a");
  EXPECT_EQ(count(log, "plan: conv to features 8x8x1 k4 s2 p1 -> 4x4x3 fp32+bias+relu: "), 1u)
      << log;
  EXPECT_EQ(count(log, "plan: timed on: "), 1u) << log;
  const Outcome other =
      run_in_process({"train", "--resume", path("a"), "--plan-mode", "heuristic"});
  EXPECT_EQ(other.status, 2);
  EXPECT_NE(other.err.find("plan_mode is \"heuristic\" here and \"timed\""), std::string::npos)
      << other.err;
  const Outcome same = run_in_process({"train", "--resume", path("a"), "--max-steps", "8"});
  EXPECT_EQ(same.status, 0) << same.err;
  EXPECT_EQ(same.err.find("timed anew"), std::string::npos) << same.err;
}

TEST_F(PlanModeRuns, ToolsTakeTheChoicesOfTheRun) {
  ASSERT_EQ(run_in_process(conv_run("a") + Strings{"--max-steps", "2"}).status, 0);
  for (const char* device : {"cuda", "cpu"}) {
    Arguments arguments;
    arguments.add("--run", path("a"));
    arguments.add("--device", device);
    Log log(true);
    TrainedRun run(arguments, log);
    PlanTable stored = run.files().checkpoint.state.plan;
    EXPECT_FALSE(stored.empty());
    if (device == std::string("cpu")) stored.clear();
    EXPECT_EQ(plan_table(run.context()), stored) << device;
  }
}

TEST_F(PlanModeRuns, ByTheRuleTheLogNamesNone) {
  const Strings few = {"--max-steps", "2"};
  ASSERT_EQ(run_in_process(conv_run("a") + few + Strings{"--plan-mode", "heuristic"}).status, 0);
  EXPECT_EQ(count(log_of("a"), "plan: "), 0u);
  ASSERT_EQ(run_in_process(conv_run("b") + few + Strings{"--product-kernels", "own"}).status, 0);
  EXPECT_EQ(count(log_of("b"), "plan: "), 0u);
}

TEST_F(PlanModeRuns, SummaryShowsThem) {
  const Outcome outcome = run_in_process(
      Strings{"summary", "--image", "1x8x8", "--device", "cuda", "--preset", "sprites", "-b", "4"} +
      model());
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("whose kernels, by timing:\n  conv to features 8x8x1 k4 s2 p1"),
            std::string::npos)
      << outcome.out;
}

}  // namespace
}  // namespace elbo
