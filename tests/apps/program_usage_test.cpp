// Wrong usage: one clear line on stderr, nothing on stdout, the right exit status.
#include <algorithm>

#include "tests/apps/program_fixture.h"

namespace elbo::testing_apps {
namespace {

class ProgramUsage : public ProgramTest {
 protected:
  static void expect_error(const Outcome& outcome, int status, const std::string& part) {
    EXPECT_EQ(outcome.status, status) << outcome.err;
    EXPECT_EQ(outcome.out, "");
    // The device line may stand before the error; the error itself is the last line.
    ASSERT_FALSE(outcome.err.empty());
    EXPECT_EQ(outcome.err.back(), '\n');
    const size_t begin = outcome.err.find("elbo: ");
    ASSERT_NE(begin, std::string::npos) << outcome.err;
    const std::string line = outcome.err.substr(begin);
    EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1) << line;
    EXPECT_NE(line.find(part), std::string::npos) << line;
  }
};

struct Case {
  Strings arguments;
  int status;
  std::string part;
};

TEST_F(ProgramUsage, MistakesGetOneLineAndTheRightStatus) {
  const std::string bad_toml = write("bad.toml", "[train]\nepochs = \"ten\"\n");
  const std::string empty = path("empty");
  std::filesystem::create_directories(empty);
  write("foreign/file.txt", "mine");
  write("broken/train-images-idx3-ubyte", "not idx");
  write("broken/t10k-images-idx3-ubyte", "not idx");
  const std::vector<Case> cases = {
      {{"trian"}, 2, "unknown command \"trian\"; did you mean train?"},
      {{"--preset", "sprites", "train"}, 2, "flags stand after the command"},
      {{"train", "--epoch", "3"}, 2, "unknown flag --epoch; did you mean --epochs?"},
      {{"train", "sprites"}, 2, "found \"sprites\", expected a flag"},
      {{"train", "--epochs"}, 2, "--epochs: a value is missing"},
      {{"train", "--epochs", "ten"}, 2, "--epochs: found \"ten\", expected an integer"},
      {{"train", "--epochs", "3", "--epochs", "4"}, 2, "--epochs: given 2 times"},
      {{"train", "-b", "0"}, 2, "--batch-size: found 0, expected an integer from 1"},
      {{"train", "--lr", "fast"}, 2, "--lr: found \"fast\", expected a number, or a table"},
      {{"train", "--precision", "fp8"}, 2, "--precision: found \"fp8\", expected one of fp32"},
      {{"train", "--preset", "mnist"}, 2, "--preset: unknown preset \"mnist\""},
      {{"train", "--set", "x"}, 2, "--set: found \"x\", expected key=value"},
      {{"train", "--set", "model.latnet_dim=2"}, 2, "did you mean model.latent_dim?"},
      {{"train", "--config", bad_toml}, 2, "bad.toml:2:10: train.epochs: found \"ten\""},
      {{"train", "--config", path("none.toml")}, 2, "--config: cannot open " + path("none.toml")},
      {{"train", "--config", ""}, 2, "--config: cannot open \"\": No such file or directory"},
      {{"train", "--config", write("child.toml", "parent = \"gone.toml\"\n")},
       2,
       "child.toml:1:10: parent: cannot open"},
      {{"train"}, 2, "--data is missing"},
      {{"train", "--device", "gpu", "--preset", "sprites"}, 2, "--device gpu: expected auto"},
      {{"train", "--data", path("nowhere")}, 4, "nowhere"},
      {{"train", "--data", empty}, 4, "empty"},
      {{"train", "--data", path("broken")}, 4, "train-images-idx3-ubyte"},
      {{"train", "--preset", "sprites", "--set", "data.train_samples=800000"}, 2, "sprites"},
      {{"train", "--resume"}, 2, "--resume: which run?"},
      {{"train", "--resume", empty}, 2, "holds no checkpoints/"},
      {{"train", "--resume", "--overwrite"}, 2, "exclude each other"},
      {{"sample"}, 2, "--run is missing"},
      {{"sample", "--run", empty}, 2, "holds no checkpoints/"},
      {{"sample", "--run", empty, "-n", "0"},
       2,
       "--count: found \"0\", expected an integer from 1"},
      {{"sample", "--run", empty, "--out", "x.jpg"}, 2, "expected the name of a .png file"},
      {{"sample", "--run", empty, "--out", path("no/x.png")}, 2, "there is no directory"},
      {{"sample", "--run", empty, "--temperature", "hot"}, 2, "--temperature: found \"hot\""},
      {{"traverse", "--run", empty, "--range", "3..-3"}, 2, "with LOW below HIGH"},
      {{"traverse", "--run", empty, "--range", "3"}, 2, "--range"},
      {{"reconstruct", "--run", empty, "--first", "-1"}, 2, "--first: found \"-1\""},
      {{"evaluate"}, 2, "--run is missing"},
      {{"evaluate", "--checkpoint", ""}, 2, "--checkpoint is missing; name a safetensors file"},
      {{"evaluate", "--run", ""}, 2, "--run is missing; name the directory"},
      {{"doctor", "--device", "tpu"}, 2, "--device tpu"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(testing::PrintToString(c.arguments));
    expect_error(run_in_process(c.arguments), c.status, c.part);
  }
}

TEST_F(ProgramUsage, RawTextDoesNotBreakALine) {
  const std::string toml = write("key.toml", "\"a\\nb\" = 1\n");
  const std::string lr = "{kind=\"warmup\", \"a\\nb\"=1}";
  const std::vector<Case> cases = {
      {{"train", "--set", "mo\ndel=4"}, 2, "--set mo\\x0adel: unknown key"},
      {{"train", "--config", "no\npe"}, 2, "--config: cannot open no\\x0ape: No such file"},
      {{"train", "--device", "cp\nu", "--preset", "sprites"}, 2, "--device cp\\x0au: expected"},
      {{"train", "--config", toml}, 2, "key.toml:1:1: unknown key a\\x0ab"},
      {{"train", "--lr", lr},
       2,
       "found {\"a\\u000ab\" = 1, kind = \"warmup\"}, expected no a\\x0ab"},
      {{"train", "--e\x1b[2J"}, 2, "unknown flag --e\\x1b[2J"},
      {{"train", "--quiet=\r"}, 2, "--quiet: found =\\x0d"},
      {{"train", "--resume", path("a\nb")}, 2, "a\\x0ab holds no checkpoints/"},
  };
  for (const Case& c : cases) expect_error(run_in_process(c.arguments), c.status, c.part);
}

TEST_F(ProgramUsage, AnOutputDirectoryThatCannotBeOneIsNamed) {
  write("file", "x");
  for (const char* name : {"file", "file/below"}) {
    expect_error(run_in_process(tiny_run(name)), 1, "run directory (--out): cannot ");
    EXPECT_EQ(read_file_text(path("file")), "x");
  }
}

TEST_F(ProgramUsage, WhatTheCommandLineSaysTwiceMustAgree) {
  ASSERT_EQ(run_in_process(tiny_run("run") + Strings{"-q"}).status, 0);
  const Strings resume = {"train", "--resume", path("run"), "-q"};
  expect_error(run_in_process(resume + Strings{"--out", path("other")}), 2,
               "but --resume goes on with " + path("run"));
  expect_error(run_in_process(resume + Strings{"--name", "other"}), 2, "--name: found \"other\"");
  expect_error(run_in_process(resume + Strings{"--set", "output.dir=other"}), 2,
               "--set output.dir: found \"other\"");
  EXPECT_FALSE(std::filesystem::exists(path("other")));
  // Another way to write the same directory.
  EXPECT_EQ(run_in_process(resume + Strings{"--out", path("run/../run/")}).status, 0);
  expect_error(run_in_process(resume + Strings{"--data", path("run")}), 2, "--data: found ");
  expect_error(run_in_process({"train", "--preset", "sprites", "--data", "nope", "--print-config"}),
               2,
               "--data: found \"nope\", but data.kind is \"sprites\", which are made and not read; "
               "to read images add --set data.kind=images");
}

// Someone may have set it for good; --preset sprites overrides it.
TEST_F(ProgramUsage, DataInTheEnvironmentIsNoContradiction) {
  setenv("ELBO_DATA", "nope", 1);
  setenv("ELBO_OUT", "elsewhere", 1);
  EXPECT_EQ(run_in_process(tiny_run("run") + Strings{"-q"}).status, 0);
  EXPECT_EQ(run_in_process({"train", "--resume", path("run"), "-q"}).status, 0);
  unsetenv("ELBO_DATA");
  unsetenv("ELBO_OUT");
}

TEST_F(ProgramUsage, AFileThatDoesNotTellItsSizeIsReadAllTheSame) {
  expect_error(run_in_process({"train", "--config", "/proc/self/status"}), 2,
               "/proc/self/status:1:5: not valid TOML");
}

TEST_F(ProgramUsage, AskingForCudaNeverFallsBack) {
#ifdef ELBO_HAS_CUDA
  GTEST_SKIP() << "this build has CUDA, real or simulated";
#else
  expect_error(run_in_process({"train", "--preset", "sprites", "--device", "cuda"}), 3,
               "--device cuda: this program was built without CUDA");
#endif
}

TEST_F(ProgramUsage, ADirectoryOfSomebodyElseStaysAsItIs) {
  write("mine/letter.txt", "dear");
  for (const Strings& mode : {Strings{}, Strings{"--overwrite"}}) {
    expect_error(run_in_process(tiny_run("mine") + mode), 2, "choose another --out");
    EXPECT_EQ(read_file_text(path("mine/letter.txt")), "dear");
    EXPECT_FALSE(std::filesystem::exists(path("mine/run.json")));
  }
}

TEST_F(ProgramUsage, AWrongDataPathLeavesNoRunDirectory) {
  EXPECT_EQ(run_in_process({"train", "--data", path("nowhere"), "--out", path("run")}).status, 4);
  EXPECT_FALSE(std::filesystem::exists(path("run")));
}

TEST_F(ProgramUsage, TheProgramItselfAnswersTheSame) {
  expect_error(run_binary({"train", "--epoch", "3"}), 2, "did you mean --epochs?");
  expect_error(run_binary({"train", "--data", path("nowhere")}), 4, "nowhere");
  expect_error(run_binary({"nothing"}), 2, "unknown command");
  const Outcome bare = run_binary({});
  EXPECT_EQ(bare.status, 2);
  EXPECT_NE(bare.err.find("Usage: elbo COMMAND"), std::string::npos);
  EXPECT_EQ(run_binary({"--version"}).status, 0);
}

TEST_F(ProgramUsage, ResultsGoToStdoutAndNothingElseDoes) {
  const Outcome version = run_in_process({"--version"});
  EXPECT_EQ(version.out.rfind("elbo ", 0), 0u);
  EXPECT_EQ(version.err, "");
  const Outcome presets = run_in_process({"train", "--list-presets"});
  EXPECT_EQ(presets.status, 0);
  EXPECT_NE(presets.out.find("mlp-mnist"), std::string::npos);
  const Outcome config = run_in_process({"train", "--preset", "sprites", "--print-config"});
  EXPECT_EQ(config.status, 0);
  const std::string file = write("printed.toml", config.out);
  EXPECT_EQ(run_in_process({"train", "--config", file, "--print-config"}).out, config.out);
}

}  // namespace
}  // namespace elbo::testing_apps
