// Going on with a run that was copied by a program that follows links (cp -rL, some archives):
// whole directories stand where `latest` and `best` should point. The power is cut here, too.
#include <gtest/gtest.h>

#include "engine/io/checkpoint.h"
#include "tests/support/checkpoint_samples.h"
#include "tests/support/crash_fs.h"

namespace elbo {
namespace {

constexpr const char* kDirectory = "run/checkpoints";

std::string in_checkpoints(const std::string& name) { return join_path(kDirectory, name); }

void copy_instead_of_link(Fs& fs, const std::string& link) {
  const std::string from = in_checkpoints(read_link(fs, in_checkpoints(link)));
  const std::string to = in_checkpoints(link);
  fs.remove_file(to);
  make_directories(fs, to);
  for (const std::string& name : list_directory(fs, from)) {
    constexpr uint64_t kAnySize = uint64_t{1} << 30;
    write_file(fs, join_path(to, name), read_text_file(fs, join_path(from, name), kAnySize));
  }
  sync_directory(fs, to);
  sync_directory(fs, kDirectory);
}

// Steps 100, the best, and 200.
void make_copied_run(Fs& fs) {
  CheckpointWriter writer(fs, kDirectory);
  writer.save(SampleCheckpoint(100, 0).contents(), true);
  writer.save(SampleCheckpoint(200, 1).contents(), false);
  copy_instead_of_link(fs, "latest");
  copy_instead_of_link(fs, "best");
}

void save(Fs& fs, int64_t step, int generation, bool is_best) {
  CheckpointWriter(fs, kDirectory).save(SampleCheckpoint(step, generation).contents(), is_best);
}

int newest(Fs& fs) { return generation_of(load_latest_checkpoint(fs, kDirectory)); }
int best(Fs& fs) { return generation_of(load_checkpoint(fs, in_checkpoints("best"))); }

TEST(CopiedRun, DirectoriesBecomeLinksAgain) {
  CrashFs fs;
  make_copied_run(fs);
  save(fs, 300, 2, false);
  EXPECT_EQ(read_link(fs, in_checkpoints("latest")), "step_00000300");
  EXPECT_EQ(best(fs), 0) << "the copy is as good as the link was";
  save(fs, 400, 3, true);
  EXPECT_EQ(read_link(fs, in_checkpoints("best")), "step_00000400");
  EXPECT_EQ(list_directory(fs, kDirectory),
            (std::vector<std::string>{"best", "latest", "step_00000300", "step_00000400"}));
}

TEST(CopiedRun, SurvivesAPowerCutAtEveryOperation) {
  CrashFs whole;
  make_copied_run(whole);
  const int64_t first = whole.operations();
  save(whole, 300, 2, true);
  std::mt19937_64 random(1);
  for (int64_t cut = first; cut <= whole.operations(); ++cut) {
    CrashFs fs;
    make_copied_run(fs);
    fs.cut_at(cut);
    bool acknowledged = false;
    try {
      save(fs, 300, 2, true);
      acknowledged = true;
    } catch (const Error&) {
    }
    for (int i = 0; i < 50; ++i) {
      const auto disk = fs.after_crash(random);
      EXPECT_GE(newest(*disk), acknowledged ? 2 : 1) << "cut " << cut;
      if (acknowledged) {
        EXPECT_EQ(best(*disk), 2) << "cut " << cut;
      }
      save(*disk, 400, 3, false);
      EXPECT_EQ(newest(*disk), 3) << "cut " << cut;
      EXPECT_TRUE(best(*disk) == 0 || best(*disk) == 2) << "cut " << cut;
      for (const std::string& name : list_directory(*disk, kDirectory))
        EXPECT_FALSE(name.ends_with(".tmp") || name.ends_with(".old")) << name << ", cut " << cut;
    }
  }
}

}  // namespace
}  // namespace elbo
