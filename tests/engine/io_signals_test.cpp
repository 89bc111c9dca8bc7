#include "engine/io/signals.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

namespace elbo {
namespace {

// Runs `body` in a child process, which tells through a pipe that it is ready; returns what
// waitpid says after `act` has dealt with it.
template <class Body, class Act>
int run_child(Body body, Act act) {
  int ends[2];
  EXPECT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const SignalScope scope;
    if (::write(ends[1], "r", 1) != 1) ::_exit(99);
    ::_exit(body());
  }
  char ready = 0;
  EXPECT_EQ(::read(ends[0], &ready, 1), 1);
  act(child);
  int status = 0;
  ::waitpid(child, &status, 0);
  ::close(ends[0]);
  ::close(ends[1]);
  return status;
}

// A training loop that asks between steps of a millisecond, for ten seconds at most.
int loop_until_asked() {
  for (int step = 0; step < 10'000 && !stop_requested(); ++step) ::usleep(1000);
  return stop_exit_status();
}

[[noreturn]] int loop_that_never_asks() {
  for (;;) ::pause();
}

TEST(Signals, TheFirstOneOnlySetsAFlag) {
  for (const auto& [number, status] : {std::pair(SIGINT, 130), std::pair(SIGTERM, 143)}) {
    const int result = run_child(loop_until_asked, [&](pid_t child) { ::kill(child, number); });
    ASSERT_TRUE(WIFEXITED(result));
    EXPECT_EQ(WEXITSTATUS(result), status);
  }
}

TEST(Signals, TheSecondOneEndsTheProcessAtOnce) {
  for (const auto& [number, status] : {std::pair(SIGINT, 130), std::pair(SIGTERM, 143)}) {
    const int result = run_child(loop_that_never_asks, [&](pid_t child) {
      ::kill(child, number);
      ::usleep(20'000);  // two signals of one kind that arrive together count as one
      EXPECT_EQ(::waitpid(child, nullptr, WNOHANG), 0) << "the first signal ended it";
      ::kill(child, number);
    });
    ASSERT_TRUE(WIFEXITED(result));
    EXPECT_EQ(WEXITSTATUS(result), status);
  }
}

TEST(Signals, WithoutASignalNothingIsRequested) {
  const SignalScope scope;
  EXPECT_FALSE(stop_requested());
  EXPECT_EQ(stop_exit_status(), 0);
}

TEST(Signals, TheScopeRestoresWhatWasThereAndStartsClean) {
  struct sigaction before {
  }, during{}, after{};
  ::sigaction(SIGINT, nullptr, &before);
  {
    const SignalScope scope;
    ::sigaction(SIGINT, nullptr, &during);
    EXPECT_NE(during.sa_handler, before.sa_handler);
    ::raise(SIGINT);
    EXPECT_TRUE(stop_requested());
    EXPECT_EQ(stop_exit_status(), 130);
  }
  ::sigaction(SIGINT, nullptr, &after);
  EXPECT_EQ(after.sa_handler, before.sa_handler);
  const SignalScope scope;
  EXPECT_FALSE(stop_requested());
}

TEST(Signals, AFailedWriteIsAnErrorWithinItsScopeOnly) {
  ::signal(SIGPIPE, SIG_DFL);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  ::close(ends[0]);
  {
    const WriteFailureScope scope;
    EXPECT_EQ(::write(ends[1], "x", 1), -1);
    EXPECT_EQ(errno, EPIPE);
    EXPECT_EQ(::raise(SIGXFSZ), 0);  // still here
  }
  ::close(ends[1]);
  struct sigaction after {};
  ::sigaction(SIGPIPE, nullptr, &after);
  EXPECT_EQ(after.sa_handler, SIG_DFL);
  ::sigaction(SIGXFSZ, nullptr, &after);
  EXPECT_EQ(after.sa_handler, SIG_DFL);
}

}  // namespace
}  // namespace elbo
