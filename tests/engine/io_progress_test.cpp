#include "engine/io/progress.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <functional>

#include "tests/support/crash_fs.h"
#include "tests/support/fault_fs.h"

namespace elbo {
namespace {

ProgressLine sample_line() {
  ProgressLine line;
  line.epoch = 3;
  line.epochs = 10;
  line.step = 291;
  line.steps = 469;
  line.elapsed_s = 4;
  line.images_per_s = 9400;
  line.fields = {{"loss", 105.321}, {"kl", 25.2}, {"lr", 1e-3}};
  return line;
}

TEST(ProgressText, LiveLine) {
  EXPECT_EQ(live_progress_text(sample_line(), 120),
            "epoch 3/10  62%|############        | 291/469 [00:04<00:02, 9.4k img/s] "
            "loss 105.3 kl 25.2 lr 0.001");
}

TEST(ProgressText, PlainLine) {
  EXPECT_EQ(plain_progress_text(sample_line()),
            "epoch 3/10  62% 291/469 [00:04<00:02, 9.4k img/s] loss 105.3 kl 25.2 lr 0.001");
}

TEST(ProgressText, NeverReachesTheLastColumn) {
  for (int width = 0; width <= 130; ++width) {
    const std::string text = live_progress_text(sample_line(), width);
    EXPECT_LT(static_cast<int>(text.size()), std::max(width, 1)) << text;
  }
  EXPECT_EQ(live_progress_text(sample_line(), 70),
            "epoch 3/10  62% 291/469 [00:04<00:02, 9.4k img/s] loss 105.3 kl 25.2");
  EXPECT_EQ(live_progress_text(sample_line(), 60),
            "epoch 3/10  62%|####    | 291/469 [00:04<00:02, 9.4k img/s]");
}

TEST(ProgressText, TimeLeftCountsFromWhereTheEpochWasResumed) {
  ProgressLine line = sample_line();
  line.step = 300;
  line.first_step = 200;
  line.steps = 500;
  line.elapsed_s = 10;  // 100 steps in 10 s, 200 to go
  EXPECT_NE(plain_progress_text(line).find("[00:10<00:20,"), std::string::npos);
}

TEST(ProgressText, DurationsAndRates) {
  EXPECT_EQ(duration_text(0), "00:00");
  EXPECT_EQ(duration_text(59.9), "00:59");
  EXPECT_EQ(duration_text(3723), "1:02:03");
  EXPECT_EQ(duration_text(std::nan("")), "??:??");
  EXPECT_EQ(duration_text(INFINITY), "??:??");
  EXPECT_EQ(rate_text(12), "12");
  EXPECT_EQ(rate_text(9421), "9.4k");
  EXPECT_EQ(rate_text(94210), "94k");
  EXPECT_EQ(rate_text(2.5e6), "2.5M");
  EXPECT_EQ(rate_text(std::nan("")), "?");
}

class ProgressTest : public testing::Test {
 protected:
  Log::Sink sink() {
    return [this](std::string_view text) { shown += text; };
  }
  Progress::Clock clock() {
    return [this] { return now; };
  }
  std::string log_file() { return read_text_file(fs, "train.log", 10'000); }

  // One epoch of 10 steps, 0.06 s each, with a report in the middle and at the end.
  void run_epoch(Log& log) {
    Progress progress(log, 2, clock());
    progress.begin_epoch(1, 10);
    for (int64_t step = 1; step <= 10; ++step) {
      now += 0.06;
      progress.update(step, step * 6, {{"loss", 2}});
      if (step % 5 == 0) progress.report(step, step * 6, {{"loss", 2}});
    }
    progress.finish();
  }

  CrashFs fs;
  std::string shown;
  double now = 1000;
};

const std::string kPlain =
    "epoch 1/2  50% 5/10 [00:00<00:00, 100 img/s] loss 2\n"
    "epoch 1/2 100% 10/10 [00:00<00:00, 100 img/s] loss 2\n";

TEST_F(ProgressTest, PipedOutputIsPlainLines) {
  Log log(false, {false, 80}, sink());
  log.open_file(fs, "train.log", OpenMode::create);
  run_epoch(log);
  EXPECT_EQ(shown, kPlain);
  EXPECT_EQ(log_file(), kPlain);
}

TEST_F(ProgressTest, TerminalGetsALiveLineAndTheFileDoesNot) {
  Log log(false, {true, 80}, sink());
  log.open_file(fs, "train.log", OpenMode::create);
  run_epoch(log);
  EXPECT_EQ(log_file(), kPlain);
  EXPECT_EQ(shown.find('\n'), shown.size() - 1);  // one line in the end, left standing
  EXPECT_TRUE(shown.starts_with("\r\x1b[Kepoch 1/2  10%|"));
  // 10 updates in 0.6 s at most every 0.1 s, and 2 reports.
  EXPECT_EQ(std::count(shown.begin(), shown.end(), '\r'), 5 + 2);
}

TEST_F(ProgressTest, QuietShowsWarningsOnlyButKeepsTheLog) {
  Log log(true, {true, 80}, sink());
  log.open_file(fs, "train.log", OpenMode::create);
  run_epoch(log);
  log.note("a note");
  EXPECT_EQ(shown, "");
  log.warning("disk is slow");
  EXPECT_EQ(shown, "warning: disk is slow\n");
  EXPECT_EQ(log_file(), kPlain + "a note\nwarning: disk is slow\n");
}

TEST_F(ProgressTest, ALineStaysOneWhateverAPathInItHolds) {
  Log log(false, {false, 80}, sink());
  log.open_file(fs, "train.log", OpenMode::create);
  log.note("saved a\nb");
  log.warning("\x1b[2J");
  log.file_only("\r");
  EXPECT_EQ(shown, "saved a\\x0ab\nwarning: \\x1b[2J\n");
  EXPECT_EQ(log_file(), shown + "\\x0d\n");
}

TEST_F(ProgressTest, MessagesAppearAboveTheLiveLine) {
  Log log(false, {true, 80}, sink());
  log.live("50%");
  log.note("saved");
  EXPECT_EQ(shown, "\r\x1b[K50%\r\x1b[Ksaved\n50%");
}

TEST_F(ProgressTest, AFailingLogFileDoesNotStopTheRun) {
  FaultFs faulty(fs);
  Log log(false, {false, 80}, sink());
  log.open_file(faulty, "train.log", OpenMode::create);
  faulty.arm(0, Fault::error_after, ENOSPC);
  log.note("one");
  log.note("two");
  EXPECT_EQ(shown,
            "one\nwarning: train.log ends here: cannot write train.log: No space left on device; "
            "free some space or choose another directory\ntwo\n");
}

TEST_F(ProgressTest, AResumedLogIsContinued) {
  Log(false, {false, 80}, sink()).open_file(fs, "train.log", OpenMode::create);
  for (const char* text : {"first", "second"}) {
    Log log(false, {false, 80}, sink());
    log.open_file(fs, "train.log", OpenMode::append);
    log.note(text);
  }
  EXPECT_EQ(log_file(), "first\nsecond\n");
}

// What a child process writes to its stderr, which is `terminal` or, if that is -1, a pipe.
std::string stderr_of_child(int terminal, const std::function<void()>& body) {
  int ends[2];
  EXPECT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(terminal >= 0 ? terminal : ends[1], STDERR_FILENO);
    ::setenv("TERM", "xterm", 1);
    body();
    ::_exit(0);
  }
  ::close(ends[1]);
  ::waitpid(child, nullptr, 0);
  char buffer[200];
  const ssize_t count = ::read(ends[0], buffer, sizeof buffer);
  ::close(ends[0]);
  return {buffer, static_cast<size_t>(std::max<ssize_t>(count, 0))};
}

void log_to_stderr() {
  Log log;
  log.live("live");
  log.note(std::to_string(log.width()));
}

TEST(Stderr, APipeGetsPlainText) { EXPECT_EQ(stderr_of_child(-1, log_to_stderr), "80\n"); }

TEST(Stderr, ATerminalGetsTheLiveLineAtItsWidth) {
  const int host = ::posix_openpt(O_RDWR | O_NOCTTY);
  if (host < 0) GTEST_SKIP() << "this machine has no pseudo-terminals";
  ASSERT_EQ(::grantpt(host), 0);
  ASSERT_EQ(::unlockpt(host), 0);
  const int terminal = ::open(::ptsname(host), O_RDWR | O_NOCTTY);
  ASSERT_GE(terminal, 0);
  winsize size{};
  size.ws_col = 57;
  ASSERT_EQ(::ioctl(terminal, TIOCSWINSZ, &size), 0);
  stderr_of_child(terminal, log_to_stderr);
  char buffer[200];
  const ssize_t count = ::read(host, buffer, sizeof buffer);
  // The terminal turns each line end into a carriage return and a line feed.
  EXPECT_EQ(std::string(buffer, static_cast<size_t>(std::max<ssize_t>(count, 0))),
            "\r\x1b[Klive\r\x1b[K57\r\nlive\r\n");
  ::close(terminal);
  ::close(host);
}

}  // namespace
}  // namespace elbo
