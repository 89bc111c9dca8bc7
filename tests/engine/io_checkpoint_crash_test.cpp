// The power is cut at every writing operation of a series of saves, and many possible disks are
// examined for each: an acknowledged checkpoint must be there. The same model must convict writers
// that forget a sync, or it proves nothing.
#include <gtest/gtest.h>

#include <cstdio>

#include "engine/io/checkpoint.h"
#include "tests/support/checkpoint_samples.h"
#include "tests/support/crash_fs.h"

namespace elbo {
namespace {

#ifdef __SANITIZE_ADDRESS__
constexpr int kDisksPerCut =
    60;  // the sanitizer is ten times slower; the plain build does the rest
#else
constexpr int kDisksPerCut = 600;
#endif

struct Save {
  int64_t step;
  bool is_best;
};

// First save, growth beyond what is kept, a best one that outlives the others, the same step saved
// twice, and a return to an earlier step that abandons later ones, the best among them.
constexpr Save kSaves[] = {{100, true},  {200, false}, {300, true},  {300, false},
                           {200, false}, {300, false}, {400, false}, {500, true}};

struct Outcome {
  int acknowledged = -1;  // generation of the last save that returned
};

Outcome run_writer(Fs& fs) {
  Outcome outcome;
  try {
    CheckpointWriter writer(fs, "run/checkpoints");
    int generation = 0;
    for (const Save& save : kSaves) {
      writer.save(SampleCheckpoint(save.step, generation).contents(), save.is_best);
      outcome.acknowledged = generation++;
    }
  } catch (const Error&) {  // the power is gone
  }
  return outcome;
}

// -1 if nothing can be loaded.
int newest_generation(Fs& fs) {
  try {
    return generation_of(load_latest_checkpoint(fs, "run/checkpoints"));
  } catch (const Error&) {
    return -1;
  }
}

struct Tally {
  int64_t cuts = 0;
  int64_t disks = 0;
  int64_t lost = 0;  // an acknowledged checkpoint, or a later one, could not be loaded
};

template <class Prepare>
Tally examine(Prepare prepare, int disks_per_cut) {
  CrashFs whole;
  prepare(whole);
  EXPECT_EQ(run_writer(whole).acknowledged, std::ssize(kSaves) - 1);
  Tally tally;
  std::mt19937_64 random(1);
  for (int64_t cut = 0; cut < whole.operations(); ++cut, ++tally.cuts) {
    CrashFs fs;
    prepare(fs);
    fs.cut_at(cut);
    const Outcome outcome = run_writer(fs);
    for (int i = 0; i < disks_per_cut; ++i, ++tally.disks) {
      tally.lost += newest_generation(*fs.after_crash(random)) < outcome.acknowledged;
    }
  }
  std::printf("%ld power cuts, %ld disk states, %ld lost\n", tally.cuts, tally.disks, tally.lost);
  return tally;
}

TEST(CheckpointCrash, AcknowledgedCheckpointSurvivesEveryPowerCut) {
  const Tally tally = examine([](CrashFs&) {}, kDisksPerCut);
  EXPECT_EQ(tally.lost, 0);
  EXPECT_GE(tally.disks, 200 * kDisksPerCut);  // 120,000 in the plain build
}

TEST(CheckpointCrash, ModelConvictsAWriterWithoutFileSync) {
  const Tally tally = examine([](CrashFs& fs) { fs.ignore_file_sync(); }, 10);
  EXPECT_GT(tally.lost, tally.disks / 10);
}

TEST(CheckpointCrash, ModelConvictsAWriterWithoutDirectorySync) {
  const Tally tally = examine([](CrashFs& fs) { fs.ignore_directory_sync(); }, 10);
  EXPECT_GT(tally.lost, tally.disks / 10);
}

TEST(CheckpointCrash, NextWriterRecoversFromEveryPowerCut) {
  CrashFs whole;
  run_writer(whole);
  std::mt19937_64 random(2);
  for (int64_t cut = 0; cut < whole.operations(); ++cut) {
    CrashFs fs;
    fs.cut_at(cut);
    run_writer(fs);
    for (int i = 0; i < kDisksPerCut / 60; ++i) {
      const auto disk = fs.after_crash(random);
      CheckpointWriter writer(*disk, "run/checkpoints");
      writer.save(SampleCheckpoint(600, 50).contents(), false);
      writer.save(SampleCheckpoint(700, 51).contents(), true);
      ASSERT_EQ(newest_generation(*disk), 51) << "after a cut at operation " << cut;
      for (const std::string& name : list_directory(*disk, "run/checkpoints")) {
        EXPECT_FALSE(name.ends_with(".tmp") || name.ends_with(".old")) << name << ", cut " << cut;
      }
    }
  }
}

TEST(CheckpointCrash, BestLinkSurvivesOnceAcknowledged) {
  CrashFs whole;
  CheckpointWriter(whole, "run/checkpoints").save(SampleCheckpoint(100, 0).contents(), true);
  const int64_t first_save = whole.operations();
  CheckpointWriter(whole, "run/checkpoints").save(SampleCheckpoint(200, 1).contents(), false);
  std::mt19937_64 random(3);
  for (int64_t cut = first_save; cut < whole.operations(); ++cut) {
    CrashFs fs;
    fs.cut_at(cut);
    try {
      CheckpointWriter(fs, "run/checkpoints").save(SampleCheckpoint(100, 0).contents(), true);
      CheckpointWriter(fs, "run/checkpoints").save(SampleCheckpoint(200, 1).contents(), false);
    } catch (const Error&) {
    }
    for (int i = 0; i < 20; ++i) {
      const auto disk = fs.after_crash(random);
      EXPECT_EQ(generation_of(load_checkpoint(*disk, "run/checkpoints/best")), 0);
    }
  }
}

}  // namespace
}  // namespace elbo
