// A real process that saves checkpoints is killed (SIGKILL) at random moments: whatever it had
// acknowledged must load, and the next process must be able to go on in the same directory.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <random>

#include "engine/io/checkpoint.h"
#include "tests/support/checkpoint_samples.h"
#include "tests/support/temp_dir.h"

namespace elbo {
namespace {

#ifdef __SANITIZE_ADDRESS__
constexpr int kKills = 40;  // forking a process with shadow memory takes a tenth of a second
#else
constexpr int kKills = 300;
#endif
constexpr size_t kWeights =
    4096;  // files of 16 to 32 KiB, so that kills also hit half-written ones

// Saves from `first` on, reporting each generation through the pipe once it is acknowledged.
[[noreturn]] void save_forever(const std::string& directory, int first, int pipe_end) {
  CheckpointWriter writer(real_fs(), directory);
  for (int generation = first;; ++generation) {
    const SampleCheckpoint sample(generation, generation, kWeights);
    writer.save(sample.contents(), generation % 3 == 0);
    if (::write(pipe_end, &generation, sizeof generation) != sizeof generation) ::_exit(1);
  }
}

// Starts a writer and kills it `share` of a save's duration after its `saves`-th acknowledgement
// (after its start, if that is 0). Returns the last acknowledged generation, or -1.
int run_and_kill(const std::string& directory, int first, int saves, double share) {
  int ends[2];
  EXPECT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    try {
      save_forever(directory, first, ends[1]);
    } catch (...) {
      ::_exit(2);
    }
  }
  ::close(ends[1]);
  static double save_us = 1000;  // a first guess, measured from then on
  int acknowledged = -1;
  const auto read_one = [&] {
    return ::read(ends[0], &acknowledged, sizeof acknowledged) == sizeof acknowledged;
  };
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < saves; ++i) EXPECT_TRUE(read_one());
  if (saves > 0) {
    const std::chrono::duration<double, std::micro> elapsed =
        std::chrono::steady_clock::now() - start;
    save_us = elapsed.count() / saves;
  }
  ::usleep(static_cast<useconds_t>(share * save_us));
  ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status)) << "the writer failed on its own, status " << status;
  while (read_one()) {
  }
  ::close(ends[0]);
  return acknowledged;
}

TEST(CheckpointKill, AcknowledgedCheckpointsLoadAfterKill9) {
  // In memory if possible: what a killed process wrote is in the page cache in either case, and a
  // slow disk would only make the test slow.
  TempDir dir("/dev/shm");
  const std::string directory = dir / "checkpoints";
  std::mt19937 random(1);
  int newest = -1;
  int acknowledged = -1;
  for (int i = 0; i < kKills; ++i) {
    const double share = std::uniform_real_distribution<double>(0, 1.5)(random);
    const int saves = i % 3;
    acknowledged = std::max(acknowledged, run_and_kill(directory, newest + 1, saves, share));
    if (acknowledged < 0) continue;
    const LoadedCheckpoint loaded = load_latest_checkpoint(real_fs(), directory);
    newest = generation_of(loaded);
    ASSERT_GE(newest, acknowledged) << "kill " << i;
    ASSERT_TRUE(loaded.warnings.empty()) << loaded.warnings.front();
  }
  std::printf("%d kills, %d checkpoints saved\n", kKills, newest + 1);
  EXPECT_GE(newest, kKills / 2);
}

}  // namespace
}  // namespace elbo
