// --profile A:B: which steps, what is printed and left behind, and what is refused.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/apps/program_fixture.h"
#include "tests/support/device.h"
#ifdef ELBO_SIM
#include "tests/sim/control.h"
#endif

namespace elbo::testing_apps {
namespace {

class TrainProfileTest : public ProgramTest {
 protected:
  Outcome profile(const std::string& out, const std::string& steps, const Strings& more = {}) {
    return run_in_process(tiny_run(out) + Strings{"--profile", steps} + more);
  }
  nlohmann::json result(const std::string& out) const {
    return nlohmann::json::parse(read_file_text(path(out + "/profile.json")));
  }
};

TEST_F(TrainProfileTest, TimesEveryOpOfTheStepsOnTheCpu) {
  const Outcome outcome = profile("run", "3:7");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(outcome.err.find("steps 3 to 6: "), std::string::npos) << outcome.err;
  const nlohmann::json found = result("run");
  EXPECT_EQ(found.at("first_step"), 3);
  EXPECT_EQ(found.at("steps"), 4);
  double sum = 0, slowest = INFINITY;
  Strings names;
  for (const nlohmann::json& op : found.at("ops")) {
    names.push_back(op.at("op"));
    EXPECT_NE(outcome.err.find("  " + names.back() + "\n"), std::string::npos) << names.back();
    EXPECT_EQ(op.at("calls"), 4) << names.back();
    EXPECT_LE(op.at("ms_per_step"), slowest) << names.back();
    slowest = op.at("ms_per_step");
    sum += slowest;
  }
  EXPECT_LE(sum, found.at("ms_per_step").get<double>());
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names,
            (Strings{"bwd/fc1/linear_dweight", "bwd/fc21|fc22/linear_dinput",
                     "bwd/fc21|fc22/linear_dweight", "bwd/fc21|fc22/reparam_kl_backward",
                     "bwd/fc3/linear_dinput", "bwd/fc3/linear_dweight", "bwd/fc4/linear_dinput",
                     "bwd/fc4/linear_dweight", "fwd/fc1/linear", "fwd/fc21|fc22/linear",
                     "fwd/fc21|fc22/reparam_kl", "fwd/fc3/linear", "fwd/fc4/bernoulli_nll",
                     "fwd/fc4/linear", "fwd/gather", "opt/optimizer", "opt/record_step"}));
}

TEST_F(TrainProfileTest, TheRunIsTheSameWithAndWithout) {
  ASSERT_EQ(run_in_process(tiny_run("plain")).status, 0);
  ASSERT_EQ(profile("watched", "5:8").status, 0);
  const std::string model = "/checkpoints/latest/model.safetensors";
  EXPECT_EQ(read_file_text(path("plain") + model), read_file_text(path("watched") + model));
  EXPECT_FALSE(std::filesystem::exists(path("plain/profile.json")));
}

TEST_F(TrainProfileTest, EndsWithTheRunAndSaysIfThereWasNothing) {
  ASSERT_EQ(profile("cut", "10:100").status, 0);
  EXPECT_EQ(result("cut").at("steps"), 2);
  const Outcome none = profile("none", "12:13");
  ASSERT_EQ(none.status, 0);
  EXPECT_NE(none.err.find("warning: --profile 12:13: nothing was profiled"), std::string::npos)
      << none.err;
  EXPECT_FALSE(std::filesystem::exists(path("none/profile.json")));
}

TEST_F(TrainProfileTest, AResumedRunMayBeProfiled) {
  ASSERT_EQ(run_in_process(tiny_run("run")).status, 0);
  const Outcome more =
      run_in_process({"train", "--resume", path("run"), "--epochs", "3", "--profile", "0:1000"});
  ASSERT_EQ(more.status, 0) << more.err;
  EXPECT_EQ(result("run").at("first_step"), 12);
  EXPECT_EQ(result("run").at("steps"), 6);
}

TEST_F(TrainProfileTest, WhatIsNoRangeOfStepsIsAUsageError) {
  for (const std::string steps :
       {"7:3", "3:3", "-1:4", "1:-4", "x", "3", "3:", ":4", "3:4:5", " 3:4", "3:4 ", "3:+4",
        "3.0:4", "99999999999999999999:4", "0:99999999999999999999"}) {
    const Outcome outcome = profile("refused", steps);
    EXPECT_EQ(outcome.status, 2) << steps;
    EXPECT_NE(outcome.err.find("--profile"), std::string::npos) << outcome.err;
    EXPECT_NE(outcome.err.find("expected steps A:B with A below B, like 100:120"),
              std::string::npos)
        << outcome.err;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    EXPECT_FALSE(std::filesystem::exists(path("refused"))) << steps;
  }
}

#ifdef ELBO_SIM
TEST_F(TrainProfileTest, BracketsTheStepsForAProfilerOnCuda) {
  if (!why_no_cuda().empty()) GTEST_SKIP() << why_no_cuda();
  for (const std::string graph_steps : {"0", "1", "4"}) {
    const cudasim::ProfilerCalls before = cudasim::profiler_calls();
    const std::string out = "run" + graph_steps;
    Strings arguments = tiny_run(out) + Strings{"--profile", "3:7", "--set"};
    arguments.push_back("graph_steps=" + graph_steps);
    *std::find(arguments.begin(), arguments.end(), "cpu") = "cuda";
    const Outcome outcome = run_in_process(arguments);
    ASSERT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_NE(outcome.err.find("profiled steps 3 to 6\n"), std::string::npos) << outcome.err;
    EXPECT_EQ(cudasim::profiler_calls().starts, before.starts + 1);
    EXPECT_EQ(cudasim::profiler_calls().stops, before.stops + 1);
    EXPECT_FALSE(std::filesystem::exists(path(out + "/profile.json")));
  }
}
#endif

}  // namespace
}  // namespace elbo::testing_apps
