#include "engine/io/run_dir.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/crash_fs.h"
#include "tests/support/error_of.h"
#include "tests/support/temp_dir.h"

namespace elbo {
namespace {

class RunDirTest : public testing::Test {
 protected:
  std::string refusal(RunDirMode mode) {
    return error_of([&] { RunDir(fs, path, mode); });
  }
  void put(const std::string& name) { write_file(fs, join_path(path, name), "x"); }
  bool has(const std::string& name) { return exists(fs, join_path(path, name)); }

  Fs& fs = real_fs();
  TempDir dir;
  std::string path = dir / "runs/one";
};

TEST_F(RunDirTest, CreatesTheLayoutWithParents) {
  const RunDir run(fs, path, RunDirMode::create);
  EXPECT_EQ(run.metrics_jsonl(), path + "/metrics.jsonl");
  EXPECT_EQ(run.config_toml(), path + "/config.toml");
  EXPECT_TRUE(is_directory(fs, run.checkpoints()));
  EXPECT_TRUE(is_directory(fs, run.samples()));
  EXPECT_TRUE(is_directory(fs, run.reconstructions()));
}

TEST_F(RunDirTest, AnEmptyDirectoryIsFine) {
  make_directories(fs, path);
  EXPECT_EQ(refusal(RunDirMode::create), "no error");
}

TEST_F(RunDirTest, RefusesToCreateOverARun) {
  { const RunDir first(fs, path, RunDirMode::create); }
  EXPECT_EQ(refusal(RunDirMode::create),
            "2: " + path +
                ": holds a run already; continue it with --resume, replace it with --overwrite, "
                "or choose another --out");
}

TEST_F(RunDirTest, LeavesAForeignDirectoryAlone) {
  make_directories(fs, path);
  put("thesis.tex");
  EXPECT_EQ(refusal(RunDirMode::create),
            "2: " + path + ": is not empty (it holds \"thesis.tex\"); choose another --out");
  EXPECT_EQ(refusal(RunDirMode::overwrite),
            "2: " + path +
                ": is not the directory of a run (no run.json, but \"thesis.tex\"), so "
                "--overwrite leaves it alone; choose another --out");
  EXPECT_EQ(list_directory(fs, path), std::vector<std::string>{"thesis.tex"});
}

TEST_F(RunDirTest, OverwriteRemovesTheRunAndNothingElse) {
  { const RunDir first(fs, path, RunDirMode::create); }
  for (const char* name : {"run.json", "config.toml", "metrics.jsonl", "train.log", "notes.txt",
                           "samples/a.png", "checkpoints/step_00000001"}) {
    put(name);
  }
  const RunDir second(fs, path, RunDirMode::overwrite);
  EXPECT_FALSE(has("run.json") || has("config.toml") || has("metrics.jsonl") || has("train.log"));
  EXPECT_FALSE(has("samples/a.png") || has("checkpoints/step_00000001"));
  EXPECT_TRUE(has("notes.txt"));
}

TEST_F(RunDirTest, OverwriteAlsoTakesARunThatNeverGotItsRunJson) {
  { const RunDir first(fs, path, RunDirMode::create); }
  put("config.toml");
  EXPECT_EQ(refusal(RunDirMode::overwrite), "no error");
  EXPECT_FALSE(has("config.toml"));
}

TEST_F(RunDirTest, ResumeNeedsCheckpointsAndKeepsEverything) {
  EXPECT_EQ(refusal(RunDirMode::resume),
            "2: " + path +
                ": nothing to resume (no checkpoints/); check --out, or start without --resume");
  EXPECT_FALSE(exists(fs, path));
  { const RunDir first(fs, path, RunDirMode::create); }
  put("metrics.jsonl");
  const RunDir again(fs, path, RunDirMode::resume);
  EXPECT_TRUE(has("metrics.jsonl"));
}

TEST_F(RunDirTest, APlaceThatIsNoDirectoryIsNotTheDatasFault) {
  make_directories(fs, dir / "runs");
  write_file(fs, path, "x");
  fs.symlink("nowhere", dir / "dangling");
  fs.symlink("loop", dir / "loop");
  const std::pair<std::string, std::string> cases[] = {
      {path, ": Not a directory; check the path"},
      {path + "/below", ": Not a directory; check the path"},
      {dir / "dangling", ": No such file or directory; check the path"},
      {dir / "loop", ": Too many levels of symbolic links"},
      {dir / std::string(300, 'x'), ": File name too long; choose a shorter name"}};
  for (const auto& [place, why] : cases) {
    path = place;
    for (const RunDirMode mode : {RunDirMode::create, RunDirMode::overwrite}) {
      const std::string message = refusal(mode);
      EXPECT_TRUE(message.starts_with("1: run directory (--out): cannot ")) << message;
      EXPECT_TRUE(message.ends_with(why)) << message;
    }
  }
}

TEST_F(RunDirTest, ResumesWhereCheckpointsIsALink) {
  { const RunDir first(fs, path, RunDirMode::create); }
  remove_tree(fs, path + "/checkpoints");
  make_directories(fs, dir / "large_disk");
  replace_symlink(fs, path + "/checkpoints", dir / "large_disk");
  EXPECT_EQ(refusal(RunDirMode::resume), "no error");
}

TEST_F(RunDirTest, OneProcessAtATime) {
  RunDir first(fs, path, RunDirMode::create);
  const std::string expected =
      "2: " + path + ": another process is writing to this run; stop it or choose another --out";
  EXPECT_EQ(refusal(RunDirMode::resume), expected);
  const pid_t child = ::fork();
  if (child == 0) ::_exit(refusal(RunDirMode::resume) == expected ? 0 : 1);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  { const RunDir moved(std::move(first)); }  // the lock moves along, and goes with it
  EXPECT_EQ(refusal(RunDirMode::resume), "no error");
}

TEST_F(RunDirTest, TheLockGoesWithAKilledProcess) {
  const pid_t child = ::fork();
  if (child == 0) {
    const RunDir run(fs, path, RunDirMode::create);
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(refusal(RunDirMode::resume), "no error");
}

TEST(RunDirCrash, ANewRunSurvivesThePowerCut) {
  CrashFs fs;
  { const RunDir run(fs, "runs/one", RunDirMode::create); }
  std::mt19937_64 random(1);
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(is_directory(*fs.after_crash(random), "runs/one/checkpoints"));
  }
}

}  // namespace
}  // namespace elbo
