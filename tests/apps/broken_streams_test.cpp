// The program with standard streams that are closed or that nobody reads, and with little room.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <nlohmann/json.hpp>

#include "tests/apps/program_fixture.h"

namespace elbo::testing_apps {
namespace {

class BrokenStreams : public ProgramTest {
 protected:
  Outcome run_with(const Strings& arguments, const std::function<void()>& prepare) const {
    return Process(arguments, directory(), prepare).wait();
  }

  nlohmann::json record() const {
    return nlohmann::json::parse(read_file_text(path("run/run.json")));
  }

  // Whether every line of metrics.jsonl is JSON, and there are some.
  void expect_clean_metrics() const {
    std::istringstream lines(read_file_text(path("run/metrics.jsonl")));
    int count = 0;
    for (std::string line; std::getline(lines, line); ++count)
      EXPECT_TRUE(nlohmann::json::accept(line)) << line;
    EXPECT_GT(count, 0);
  }

  static void nobody_reads(int descriptor) {
    int ends[2];
    if (pipe(ends) != 0) _exit(99);
    close(ends[0]);
    dup2(ends[1], descriptor);
    std::signal(SIGPIPE, SIG_DFL);  // as a shell starts it
  }
};

TEST_F(BrokenStreams, TrainingGoesOnWhenNobodyReadsItsMessages) {
  const Outcome outcome = run_with(tiny_run("run"), [] { nobody_reads(STDERR_FILENO); });
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(record().at("status"), "finished");
}

TEST_F(BrokenStreams, AnErrorThatNobodyReadsKeepsItsStatus) {
  const auto prepare = [] { nobody_reads(STDERR_FILENO); };
  EXPECT_EQ(run_with({"train", "--data", path("nowhere")}, prepare).status, 4);
  EXPECT_EQ(run_with({"evaluate"}, prepare).status, 2);
}

TEST_F(BrokenStreams, ResultsThatNobodyReadsEndTheProgramAsUsual) {
  const auto prepare = [] { nobody_reads(STDOUT_FILENO); };
  EXPECT_EQ(run_with({"train", "--help"}, prepare).status, 128 + SIGPIPE);
}

TEST_F(BrokenStreams, ALimitOnFileSizesIsAnErrorOfOneLine) {
  const Outcome outcome = run_with(tiny_run("run"), [] {
    const rlimit limit{8192, 8192};  // less than a checkpoint
    setrlimit(RLIMIT_FSIZE, &limit);
    std::signal(SIGXFSZ, SIG_DFL);
  });
  EXPECT_EQ(outcome.status, 1);
  EXPECT_NE(outcome.err.find("elbo: cannot write "), std::string::npos) << outcome.err;
  EXPECT_NE(outcome.err.find("File too large; raise the limit"), std::string::npos) << outcome.err;
  EXPECT_EQ(record().at("status"), "failed");
}

TEST_F(BrokenStreams, ClosedOnesDoNotBecomeFilesOfTheRun) {
  for (const int first : {STDIN_FILENO, STDERR_FILENO}) {
    const Outcome outcome = run_with(tiny_run("run") + Strings{"--overwrite"}, [first] {
      for (int descriptor = first; descriptor <= STDERR_FILENO; ++descriptor) close(descriptor);
    });
    EXPECT_EQ(outcome.status, 0);
    EXPECT_EQ(outcome.err, "");
    expect_clean_metrics();
    EXPECT_EQ(read_file_text(path("run/.lock")), "");
  }
}

TEST_F(BrokenStreams, ResultsForAClosedStdoutAreAnError) {
  const Outcome outcome = run_with({"--version"}, [] { close(STDOUT_FILENO); });
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.err, "elbo: cannot write to standard output\n");
}

// Sanitizers need far more address space than this leaves.
#if defined(_OPENMP) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_F(BrokenStreams, MoreThreadsThanThereIsRoomForAreAnErrorOfOneLine) {
  const Strings doctor = {"doctor", "--out", directory(), "--threads"};
  const auto prepare = [] {
    const rlim_t bytes = rlim_t{2} << 30;  // 1024 stacks of 8 MiB do not fit
    const rlimit space{bytes, bytes}, stack{8 << 20, 8 << 20};
    setrlimit(RLIMIT_STACK, &stack);
    setrlimit(RLIMIT_AS, &space);
  };
  const Outcome outcome = run_with(doctor + Strings{"1024"}, prepare);
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.err.rfind("elbo: --threads: 1024 are wanted, but the system grants only ", 0),
            0u)
      << outcome.err;
  EXPECT_EQ(run_with(doctor + Strings{"4"}, prepare).status, 0);
}
#endif

}  // namespace
}  // namespace elbo::testing_apps
