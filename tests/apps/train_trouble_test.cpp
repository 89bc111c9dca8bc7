// Runs that meet trouble: what is wrong is said in one line, and what was trained is not lost.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "apps/subcommands.h"
#include "apps/train_session.h"
#include "tests/apps/program_fixture.h"
#include "tests/support/error_of.h"
#include "tests/support/fault_fs.h"

namespace elbo::testing_apps {
namespace {

namespace fs = std::filesystem;

class TrainTrouble : public ProgramTest {
 protected:
  Outcome train(const Strings& arguments) const {
    Outcome outcome = run_in_process(arguments);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    return outcome;
  }

  void expect_refusal(const Strings& arguments, int status, const std::string& part) const {
    const Outcome outcome = run_in_process(arguments);
    EXPECT_EQ(outcome.status, status) << outcome.err;
    EXPECT_NE(outcome.err.find(part), std::string::npos) << outcome.err;
  }

  // Both splits of a data set of `count` images, as an IDX file of these dimensions.
  std::string images(const std::string& name, int count, const std::vector<int>& shape) const {
    std::string text = {0, 0, 8, static_cast<char>(shape.size() + 1)};
    const auto put = [&](int value) {
      for (int shift = 24; shift >= 0; shift -= 8) text += static_cast<char>(value >> shift);
    };
    put(count);
    size_t pixels = static_cast<size_t>(count);
    for (const int side : shape) {
      put(side);
      pixels *= static_cast<size_t>(side);
    }
    for (size_t i = 0; i < pixels; ++i) text += static_cast<char>(i * i % 251);
    write(name + "/train-images-idx3-ubyte", text);
    write(name + "/t10k-images-idx3-ubyte", text);
    return path(name);
  }

  // Two epochs on such images.
  Strings run_on(const std::string& data, const std::string& out) const {
    return {"train", "--data", data, "--out", path(out), "--device", "cpu",   "--threads",      "1",
            "-z",    "2",      "-b", "8",     "-e",      "2",        "--set", "model.hidden=16"};
  }

  // Diverges at once with an absurd learning rate.
  Strings deep_run(const std::string& out) const {
    Strings arguments = tiny_run(out);
    *std::find(arguments.begin(), arguments.end(), "model.hidden=16") =
        "model.hidden=32,32,32,32,32,32";
    return arguments;
  }

  // Up to the first step.
  static std::unique_ptr<TrainSession> start(Fs& files, Strings arguments) {
    arguments.erase(arguments.begin());  // "train"
    const Arguments given = parse_command_line(train_command_line(), std::move(arguments));
    return std::make_unique<TrainSession>(files, plan_run(files, given, {}), false,
                                          given.has("--quiet"));
  }

  nlohmann::json state(const std::string& run) const {
    return nlohmann::json::parse(read_file_text(path(run) + "/checkpoints/latest/state.json"));
  }
  nlohmann::json record(const std::string& run) const {
    return nlohmann::json::parse(read_file_text(path(run) + "/run.json"));
  }
};

TEST_F(TrainTrouble, BestIsThereWhateverTheSaveInterval) {
  train(tiny_run("run") + Strings{"--save-interval", "7"});
  EXPECT_EQ(fs::read_symlink(path("run/checkpoints/best")), "step_00000012");
  EXPECT_EQ(state("run").at("best_step"), 12);
  train({"sample", "--run", path("run"), "--checkpoint", "best"});
}

TEST_F(TrainTrouble, AMissingBestIsExplained) {
  train(tiny_run("run") + Strings{"--eval-interval", "0"});
  expect_refusal({"sample", "--run", path("run"), "--checkpoint", "best"}, 4, "--eval-interval");
}

TEST_F(TrainTrouble, OtherDataIsRefusedOnResume) {
  train(run_on(images("square", 40, {8, 8}), "run"));
  const Strings resume = {"train", "--resume", path("run"), "-e", "3", "--data"};
  const std::string was = read_file_text(path("run/train.log"));
  expect_refusal(resume + Strings{images("wide", 40, {4, 16})}, 4,
                 "images are 1 x 4 x 16; the model was trained on 1 x 8 x 8");
  expect_refusal(resume + Strings{images("small", 20, {4, 4})}, 4,
                 "images are 1 x 4 x 4; the model was trained on 1 x 8 x 8");
  expect_refusal(resume + Strings{images("few", 20, {8, 8})}, 4,
                 "the run was trained on 40 images and there are 20");
  // As many steps per epoch.
  expect_refusal(resume + Strings{images("one_less", 39, {8, 8})}, 4,
                 "the run was trained on 40 images and there are 39");
  fs::rename(path("square"), path("moved"));
  train(resume + Strings{path("moved")});
}

TEST_F(TrainTrouble, EvaluateRefusesOtherShapesOfAsManyPixels) {
  train(run_on(images("square", 40, {8, 8}), "run"));
  const Strings evaluate = {"evaluate", "--run", path("run"), "--data"};
  train(evaluate + Strings{path("square")});
  expect_refusal(evaluate + Strings{images("wide", 40, {4, 16})}, 4,
                 "images are 1 x 4 x 16; the model was trained on 1 x 8 x 8");
  expect_refusal(evaluate + Strings{images("deep", 40, {4, 4, 4})}, 4,
                 "images are 4 x 4 x 4; the model was trained on 1 x 8 x 8");
}

TEST_F(TrainTrouble, ImagesThatCannotBeShownCanBeTrainedOn) {
  const Outcome outcome = train(run_on(images("two", 40, {2, 8, 8}), "run"));
  EXPECT_NE(outcome.err.find("warning: images of 2 channels cannot be shown"), std::string::npos);
  EXPECT_EQ(outcome.err.find("no pictures of epoch"), std::string::npos) << "said once";
  EXPECT_EQ(state("run").at("step"), 10);
  EXPECT_TRUE(fs::is_empty(path("run/samples")));
}

TEST_F(TrainTrouble, VeryWideImagesAreShown) {
  train(run_on(images("wide", 10, {1, 4096}), "run"));
  EXPECT_TRUE(fs::exists(path("run/samples/epoch_0002.png")));
  EXPECT_TRUE(fs::exists(path("run/reconstructions/epoch_0002.png")));
}

TEST_F(TrainTrouble, PicturesThatCannotBeWrittenDoNotCostTheRun) {
  train(tiny_run("run"));
  fs::remove_all(path("run/samples"));
  write("run/samples", "no directory");
  const Outcome outcome = train({"train", "--resume", path("run"), "-e", "3"});
  EXPECT_NE(outcome.err.find("warning: no pictures of epoch 3: cannot create " +
                             path("run/samples/epoch_0003.png")),
            std::string::npos)
      << outcome.err;
  EXPECT_EQ(state("run").at("step"), 18);
  EXPECT_EQ(record("run").at("status"), "finished");
}

TEST_F(TrainTrouble, ARunLimitedInStepsGoesOnBitForBit) {
  const Strings more = {"--save-interval", "6", "--keep", "10"};
  Strings whole = tiny_run("whole") + more, parts = tiny_run("parts") + more;
  train(whole);
  train(parts + Strings{"--max-steps", "8"});
  train({"train", "--resume", path("parts"), "--max-steps", "0"});
  EXPECT_EQ(state("parts"), state("whole"));
}

TEST_F(TrainTrouble, ADivergedModelIsANumericErrorEverywhere) {
  const Strings hot = {"--lr", "1e6", "--max-steps", "1"};
  expect_refusal(deep_run("hot") + hot, 5, "step 1: the test loss is not finite");
  EXPECT_FALSE(fs::exists(path("hot/checkpoints/latest")));
  EXPECT_EQ(record("hot").at("status"), "failed");
  // Unseen where there is no pass over the test set; then whoever uses the model says so.
  train(deep_run("blind") + hot + Strings{"--eval-interval", "0", "--sample-interval", "0"});
  expect_refusal({"traverse", "--run", path("blind")}, 5, "not finite");
  expect_refusal({"reconstruct", "--run", path("blind")}, 5, "not finite");
}

TEST_F(TrainTrouble, WhatEndsARunIsReportedThoughItCannotBeRecorded) {
  FaultFs faulty(real_fs());
  const auto session = start(faulty, deep_run("run") + Strings{"--lr", "1e6", "-q"});
  faulty.arm(0, Fault::error_after, EIO);
  testing::internal::CaptureStderr();
  const std::string error = error_of([&] { session->run(); });
  const std::string warnings = testing::internal::GetCapturedStderr();
  EXPECT_TRUE(error.starts_with("5: step 1: ")) << error;
  EXPECT_NE(warnings.find("run.json still says running"), std::string::npos) << warnings;
}

TEST_F(TrainTrouble, ARunDirectoryThatGoesIsNotMadeAnew) {
  const auto session = start(real_fs(), tiny_run("run") + Strings{"--sample-interval", "0", "-q"});
  fs::remove_all(path("run"));
  testing::internal::CaptureStderr();
  const std::string error = error_of([&] { session->run(); });
  testing::internal::GetCapturedStderr();
  EXPECT_EQ(error, "1: " + path("run/checkpoints") +
                       ": is gone, so step 6 cannot be saved; somebody removed or renamed it");
  EXPECT_FALSE(fs::exists(path("run")));
}

TEST_F(TrainTrouble, ARunWithoutACheckpointIsToldWhatWorks) {
  train(tiny_run("run"));
  fs::remove_all(path("run/checkpoints"));
  fs::create_directories(path("run/checkpoints"));
  expect_refusal({"sample", "--run", path("run")}, 4, "train it again with --overwrite");
  expect_refusal({"train", "--resume", path("run")}, 4, "train it again with --overwrite");
  train(tiny_run("run") + Strings{"--overwrite"});
}

TEST_F(TrainTrouble, ARunWithoutStepsCanBeUsed) {
  Strings none = tiny_run("run");
  *(std::find(none.begin(), none.end(), "-e") + 1) = "0";
  train(none);
  train({"sample", "--run", path("run")});
  train({"train", "--resume", path("run"), "-e", "1"});
  EXPECT_EQ(state("run").at("step"), 6);
}

TEST_F(TrainTrouble, ACheckpointCanBeNamedFromWithinItsDirectory) {
  train(tiny_run("run"));
  const fs::path before = fs::current_path();
  for (const char* name : {"step_00000006", "./step_00000006/", "step_00000006/../step_00000006"}) {
    fs::current_path(path("run/checkpoints"));
    train({"train", "--resume", name});
    EXPECT_EQ(record("run").at("first_step"), 6) << name;
  }
  fs::current_path(path("run/checkpoints/step_00000006"));
  train({"train", "--resume", "."});
  fs::current_path(before);
}

TEST_F(TrainTrouble, DamagedMetricsAreMentioned) {
  train(tiny_run("run"));
  std::ofstream(path("run/metrics.jsonl"), std::ios::app) << "{\"step\":1\nnonsense\n";
  const Outcome outcome = train({"train", "--resume", path("run"), "-e", "3"});
  EXPECT_NE(outcome.err.find("metrics.jsonl: 2 damaged lines were dropped"), std::string::npos)
      << outcome.err;
}

TEST_F(TrainTrouble, AnEnormousPictureIsRefusedAtOnce) {
  train(tiny_run("run"));
  expect_refusal({"sample", "--run", path("run"), "-n", "1048576"}, 1, "too large for a PNG");
}

TEST_F(TrainTrouble, MoreSpritesThanThereAreAreRefused) {
  const std::string most = "9223372036854775807";
  expect_refusal({"train", "--preset", "sprites", "--out", path("run"), "--set",
                  "data.train_samples=" + most, "--set", "data.test_samples=" + most},
                 2, "data.train_samples is " + most + " and data.test_samples is " + most);
}

TEST_F(TrainTrouble, ACopyThatFollowedLinksGoesOn) {
  train(tiny_run("run"));
  fs::copy(path("run"), path("copy"), fs::copy_options::recursive);
  ASSERT_FALSE(fs::is_symlink(path("copy/checkpoints/latest")));
  train({"train", "--resume", path("copy"), "-e", "3"});
  EXPECT_EQ(fs::read_symlink(path("copy/checkpoints/latest")), "step_00000018");
}

TEST_F(TrainTrouble, CheckpointsMayBeOnAnotherDisk) {
  train(tiny_run("run"));
  fs::rename(path("run/checkpoints"), path("elsewhere"));
  fs::create_directory_symlink(path("elsewhere"), path("run/checkpoints"));
  train({"sample", "--run", path("run")});
  train({"train", "--resume", path("run"), "-e", "3"});
  EXPECT_TRUE(fs::exists(path("elsewhere/step_00000018")));
}

}  // namespace
}  // namespace elbo::testing_apps
