// The program itself, stopped and killed at random moments: what it leaves must be as if nothing had
// happened.
#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <thread>

#include "engine/io/checkpoint.h"
#include "tests/apps/program_fixture.h"

namespace elbo::testing_apps {
namespace {

constexpr int kMoments = 20;

class InterruptedRuns : public ProgramTest {
 protected:
  Strings run(const std::string& out) const {
    Strings arguments = tiny_run(out);
    // 72 steps with a checkpoint every 3: most moments fall into the writing of one.
    const auto epochs = std::find(arguments.begin(), arguments.end(), "-e");
    *(epochs + 1) = "12";
    return arguments + Strings{"--save-interval", "3", "--sample-interval", "20", "-q"};
  }

  // Every file of the newest checkpoint.
  std::vector<std::string> newest_checkpoint(const std::string& out) const {
    std::vector<std::string> bytes;
    for (const char* file :
         {"model.safetensors", "optimizer.safetensors", "state.json", "config.toml"}) {
      bytes.push_back(read_file_text(path(out) + "/checkpoints/latest/" + file));
    }
    return bytes;
  }

  std::vector<std::string> uninterrupted() {
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(run_binary(run("whole")).status, 0);
    whole_ms_ =
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    return newest_checkpoint("whole");
  }

  // Sends `signal` at a random moment of a run; returns its exit status.
  Outcome interrupt(const Strings& arguments, int signal) {
    Process process(arguments, directory());
    // Not up to the end: on a busy machine no two runs take equally long.
    std::uniform_real_distribution<double> moment(0, 0.7 * whole_ms_);
    std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(moment(rng_)));
    process.signal(signal);
    const Outcome outcome = process.wait();
    if (outcome.status == 0) whole_ms_ *= 0.7;  // the whole run met a busier machine
    return outcome;
  }

  Strings resume(const std::string& out) const { return {"train", "--resume", path(out), "-q"}; }

  std::mt19937_64 rng_{20};
  double whole_ms_ = 0;
};

TEST_F(InterruptedRuns, StoppedAnywhereAndResumedTheBytesAreTheSame) {
  const std::vector<std::string> expected = uninterrupted();
  int stopped = 0;
  for (int i = 0; i < kMoments; ++i) {
    std::filesystem::remove_all(path("parts"));
    const Outcome outcome = interrupt(run("parts"), SIGTERM);
    stopped += outcome.status == 143;
    if (!std::filesystem::exists(path("parts") + "/checkpoints/latest")) {
      // Stopped before it could hear: the default action of the signal, and nothing to resume.
      EXPECT_EQ(outcome.status, 143);
      continue;
    }
    if (outcome.status != 0) {
      EXPECT_EQ(outcome.status, 143) << outcome.err;
      const Outcome resumed = run_binary(resume("parts"));
      ASSERT_EQ(resumed.status, 0) << resumed.err;
    }
    EXPECT_EQ(newest_checkpoint("parts"), expected) << "moment " << i;
  }
  EXPECT_GE(stopped, kMoments / 2) << "most moments must fall into the run";
}

TEST_F(InterruptedRuns, KilledAnywhereTheNewestCheckpointLoadsAndTrainingGoesOn) {
  const std::vector<std::string> expected = uninterrupted();
  int killed = 0;
  for (int i = 0; i < kMoments; ++i) {
    std::filesystem::remove_all(path("parts"));
    const Outcome outcome = interrupt(run("parts"), SIGKILL);
    killed += outcome.status == 128 + SIGKILL;
    const std::string checkpoints = path("parts") + "/checkpoints";
    if (!std::filesystem::exists(checkpoints + "/latest")) continue;  // killed before the first one
    EXPECT_TRUE(load_latest_checkpoint(real_fs(), checkpoints).warnings.empty());
    const Outcome resumed = run_binary(resume("parts"));
    ASSERT_EQ(resumed.status, 0) << resumed.err;
    EXPECT_EQ(newest_checkpoint("parts"), expected) << "moment " << i;
  }
  EXPECT_GE(killed, kMoments / 2) << "most moments must fall into the run";
}

}  // namespace
}  // namespace elbo::testing_apps
