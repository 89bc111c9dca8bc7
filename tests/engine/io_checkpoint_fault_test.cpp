// Each file-system call of a save fails once, and then from there on. The previous checkpoint must
// stay loadable, the failure must arrive as a typed error, and the next save must succeed.
#include <gtest/gtest.h>

#include <cerrno>

#include "engine/io/checkpoint.h"
#include "tests/support/checkpoint_samples.h"
#include "tests/support/crash_fs.h"
#include "tests/support/error_of.h"
#include "tests/support/fault_fs.h"
#include "tests/support/temp_dir.h"

namespace elbo {
namespace {

int newest(Fs& fs) { return generation_of(load_latest_checkpoint(fs, "checkpoints")); }

// A save over three earlier ones, so that links are replaced and old checkpoints removed.
struct Scene {
  CrashFs disk;
  FaultFs faulty{disk};
  CheckpointWriter writer{faulty, "checkpoints"};

  Scene() {
    writer.save(SampleCheckpoint(100, 0).contents(), true);
    writer.save(SampleCheckpoint(200, 1).contents(), false);
    writer.save(SampleCheckpoint(300, 2).contents(), false);
  }
  SavedCheckpoint save_next() { return writer.save(SampleCheckpoint(400, 3).contents(), true); }
};

int64_t calls_of_a_save() {
  Scene scene;
  scene.faulty.arm(-1, Fault::error);
  scene.save_next();
  return scene.faulty.calls();
}

class CheckpointFault : public testing::TestWithParam<std::tuple<Fault, int>> {};

TEST_P(CheckpointFault, EveryCallMayFail) {
  const auto [fault, error_number] = GetParam();
  const int64_t calls = calls_of_a_save();
  ASSERT_GT(calls, 50);
  int64_t refused = 0;
  for (int64_t call = 0; call < calls; ++call) {
    Scene scene;
    scene.faulty.arm(call, fault, error_number);
    bool acknowledged = false;
    try {
      scene.save_next();
      acknowledged = true;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("checkpoints"), std::string::npos) << error.what();
      ++refused;
    }
    scene.faulty.arm(-1, Fault::error);
    EXPECT_GE(newest(scene.disk), acknowledged ? 3 : 2) << "call " << call;
    EXPECT_NO_THROW(scene.save_next()) << "call " << call;
    EXPECT_EQ(newest(scene.disk), 3) << "call " << call;
    EXPECT_EQ(list_directory(scene.disk, "checkpoints"),
              (std::vector<std::string>{"best", "latest", "step_00000300", "step_00000400"}));
  }
  EXPECT_GT(refused, 20);
}

INSTANTIATE_TEST_SUITE_P(Errors, CheckpointFault,
                         testing::Values(std::tuple(Fault::error, ENOSPC),
                                         std::tuple(Fault::error, EIO),
                                         std::tuple(Fault::error_after, ENOSPC),
                                         std::tuple(Fault::error_after, EIO)));

TEST(CheckpointFaults, InterruptedCallsAreRepeated) {
  for (int64_t call = 0; call < calls_of_a_save(); ++call) {
    Scene scene;
    scene.faulty.arm(call, Fault::error, EINTR);
    EXPECT_TRUE(scene.save_next().warnings.empty()) << "call " << call;
    EXPECT_EQ(newest(scene.disk), 3) << "call " << call;
  }
}

TEST(CheckpointFaults, ShortTransfersAreContinued) {
  for (int64_t call = 0; call < calls_of_a_save(); ++call) {
    Scene scene;
    scene.faulty.arm(call, Fault::short_transfer);
    EXPECT_TRUE(scene.save_next().warnings.empty()) << "call " << call;
    EXPECT_EQ(newest(scene.disk), 3) << "call " << call;
  }
}

TEST(CheckpointFaults, EveryCallOfALoadMayFail) {
  Scene scene;
  scene.faulty.arm(-1, Fault::error);
  EXPECT_EQ(newest(scene.faulty), 2);
  const int64_t calls = scene.faulty.calls();
  for (int64_t call = 0; call < calls; ++call) {
    for (const int error_number : {EIO, EINTR}) {
      scene.faulty.arm(call, Fault::error, error_number);
      try {
        const int generation = newest(scene.faulty);
        EXPECT_TRUE(generation == 2 || (error_number == EIO && generation == 1)) << call;
      } catch (const Error& error) {
        EXPECT_EQ(error_number, EIO);
        EXPECT_EQ(error.code(), ErrorCode::data);
      }
    }
    scene.faulty.arm(call, Fault::short_transfer);
    EXPECT_EQ(newest(scene.faulty), 2) << call;
  }
}

TEST(CheckpointFaults, FullDiskNamesTheFileAndTheRemedy) {
  Scene scene;
  for (int64_t call = 0;; ++call) {
    scene.faulty.arm(call, Fault::error, ENOSPC);
    const std::string message = error_of([&] { scene.save_next(); });
    if (message.find("cannot write") == std::string::npos) continue;
    EXPECT_EQ(message,
              "1: cannot write checkpoints/step_00000400.tmp/model.safetensors: No space left on "
              "device; free some space or choose another directory");
    break;
  }
}

TEST(CheckpointFaults, FailureToRemoveAnOldOneIsAWarning) {
  int warned = 0;
  for (int64_t call = 0; call < calls_of_a_save(); ++call) {
    Scene scene;
    scene.faulty.arm(call, Fault::error_after, EIO);
    try {
      warned += !scene.save_next().warnings.empty();
    } catch (const Error&) {
    }
  }
  EXPECT_GT(warned, 5);
}

}  // namespace
}  // namespace elbo
