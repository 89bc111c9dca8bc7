// Whole runs, tiny ones.
#include <cmath>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/apps/png_reader.h"
#include "tests/apps/program_fixture.h"

namespace elbo::testing_apps {
namespace {

namespace fs = std::filesystem;

class TrainTest : public ProgramTest {
 protected:
  Outcome train(const Strings& arguments) const {
    Outcome outcome = run_in_process(arguments);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    return outcome;
  }

  std::string step_file(const std::string& run, const std::string& file) const {
    return read_file_text(path(run) + "/checkpoints/latest/" + file);
  }

  void expect_same_checkpoint(const std::string& a, const std::string& b) const {
    for (const char* file :
         {"model.safetensors", "optimizer.safetensors", "state.json", "config.toml"}) {
      EXPECT_FALSE(step_file(a, file).empty()) << file;
      EXPECT_EQ(step_file(a, file), step_file(b, file)) << file;
    }
  }

  nlohmann::json record(const std::string& run) const {
    return nlohmann::json::parse(read_file_text(path(run) + "/run.json"));
  }
};

TEST_F(TrainTest, LeavesACompleteRunDirectory) {
  const Outcome outcome = train(tiny_run("run"));
  EXPECT_NE(outcome.err.find("done after 12 steps"), std::string::npos) << outcome.err;
  for (const char* file : {"config.toml", "run.json", "metrics.jsonl", "train.log",
                           "samples/epoch_0001.png", "samples/epoch_0002.png",
                           "reconstructions/epoch_0002.png", "checkpoints/best/model.safetensors"})
    EXPECT_TRUE(fs::exists(path("run/") + file)) << file;
  EXPECT_EQ(record("run").at("status"), "finished");
  EXPECT_EQ(record("run").at("step"), 12);
  EXPECT_EQ(record("run").at("precision"), "fp32");
  EXPECT_NE(read_file_text(path("run/train.log")).find("precision fp32"), std::string::npos);
  const Picture grid = decode_png(read_file_text(path("run/samples/epoch_0002.png")));
  EXPECT_EQ(grid.width, 8 * (64 + 2) + 2);  // 8 columns of 8 x 8 pictures, eight times as large
  EXPECT_EQ(read_file_text(path("run/train.log")).find('\x1b'), std::string::npos);
}

TEST_F(TrainTest, ADiscriminatorsLossIsLogged) {
  const Outcome outcome =
      train(tiny_run("run") + Strings{"--set", "train.objective.factor=2", "--set",
                                      "train.objective.discriminator=8"});
  EXPECT_NE(outcome.err.find(", discriminator 0."), std::string::npos) << outcome.err;
  std::istringstream lines(read_file_text(path("run/metrics.jsonl")));
  int steps = 0, epochs = 0;
  for (std::string line; std::getline(lines, line);) {
    const auto fields = nlohmann::json::parse(line);
    for (const char* name : {"discriminator", "train_discriminator"}) {
      if (!fields.contains(name)) continue;
      EXPECT_NEAR(fields.at(name), std::log(2), 0.2) << line;
      ++(name[0] == 'd' ? steps : epochs);
    }
  }
  EXPECT_EQ(steps, 3);
  EXPECT_EQ(epochs, 2);
  train(tiny_run("plain"));
  EXPECT_EQ(read_file_text(path("plain/metrics.jsonl")).find("discriminator"), std::string::npos);
}

TEST_F(TrainTest, EqualRunsLeaveEqualBytes) {
  train(tiny_run("a"));
  train(tiny_run("b"));
  expect_same_checkpoint("a", "b");
  EXPECT_EQ(read_file_text(path("a/samples/epoch_0002.png")),
            read_file_text(path("b/samples/epoch_0002.png")));
  train(tiny_run("c") + Strings{"--seed", "43"});
  EXPECT_NE(step_file("a", "model.safetensors"), step_file("c", "model.safetensors"));
}

TEST_F(TrainTest, ARunCanBeRepeatedFromItsConfiguration) {
  train(tiny_run("a"));
  train({"train", "--config", path("a/config.toml"), "--out", path("b")});
  expect_same_checkpoint("a", "b");
}

TEST_F(TrainTest, ARunStoppedByASignalGoesOnBitForBit) {
  const Strings more = {"--set", "train.epochs=16"};
  Strings longer = tiny_run("whole");
  longer.erase(std::find(longer.begin(), longer.end(), "-e"),
               std::find(longer.begin(), longer.end(), "-e") + 2);
  train(longer + more);
  *std::find(longer.begin(), longer.end(), path("whole")) = path("parts");
  Process process(longer + more, directory());
  const std::string metrics = path("parts/metrics.jsonl");
  while (!process.ended() && read_file_text(metrics).find("\"step\":20,") == std::string::npos)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  process.signal(SIGTERM);
  const Outcome stopped = process.wait();
  ASSERT_EQ(stopped.status, 143) << stopped.err;
  EXPECT_NE(stopped.err.find("go on with: elbo train --resume " + path("parts")), std::string::npos)
      << stopped.err;
  EXPECT_EQ(record("parts").at("status"), "interrupted");
  train({"train", "--resume", path("parts")});
  expect_same_checkpoint("whole", "parts");
  EXPECT_EQ(record("parts").at("status"), "finished");
  EXPECT_EQ(record("parts").at("earlier").at(0).at("status"), "interrupted");
}

TEST_F(TrainTest, ResumingAFinishedRunTrainsFurtherWhenAskedTo) {
  train(tiny_run("run"));
  EXPECT_EQ(record("run").at("step"), 12);
  train({"train", "--resume", "latest", "--out", path("run"), "--epochs", "3"});
  EXPECT_EQ(record("run").at("first_step"), 12);
  EXPECT_EQ(record("run").at("step"), 18);
}

TEST_F(TrainTest, ResumingDoesNotChangeWhatARunIs) {
  train(tiny_run("run"));
  const Outcome outcome = run_in_process({"train", "--resume", path("run"), "-z", "3"});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_NE(outcome.err.find("model.latent_dim is 3 here and 2 in " + path("run")),
            std::string::npos)
      << outcome.err;
}

TEST_F(TrainTest, TheSameCommandLineWithResumeGoesOn) {
  train(tiny_run("run"));
  const Outcome again = train(tiny_run("run") + Strings{"--resume"});
  EXPECT_NE(again.err.find("resumed from"), std::string::npos) << again.err;
  EXPECT_NE(again.err.find("there is nothing left to do"), std::string::npos) << again.err;
}

TEST_F(TrainTest, OneCheckpointCanBeResumedFrom) {
  train(tiny_run("run"));
  train({"train", "--resume", path("run/checkpoints/step_00000006")});
  EXPECT_EQ(record("run").at("first_step"), 6);
  EXPECT_EQ(record("run").at("step"), 12);
}

TEST_F(TrainTest, OtherThreadsAreSaidToChangeBits) {
#ifdef _OPENMP
  train(tiny_run("run"));
  const Outcome outcome = train({"train", "--resume", path("run"), "-e", "3", "--threads", "2"});
  EXPECT_NE(outcome.err.find("warning: the run was on cpu with 1 threads"), std::string::npos)
      << outcome.err;
#else
  GTEST_SKIP() << "built without OpenMP";
#endif
}

TEST_F(TrainTest, ARunIsReplacedOnlyWhenAskedTo) {
  train(tiny_run("run"));
  const Outcome refused = run_in_process(tiny_run("run"));
  EXPECT_EQ(refused.status, 2);
  EXPECT_NE(refused.err.find("--overwrite"), std::string::npos);
  train(tiny_run("run") + Strings{"--overwrite", "--seed", "9"});
  EXPECT_EQ(record("run").at("seed"), 9);
}

TEST_F(TrainTest, QuietSaysNothing) {
  EXPECT_EQ(train(tiny_run("run") + Strings{"-q"}).err, "");
  EXPECT_FALSE(read_file_text(path("run/train.log")).empty());
}

TEST_F(TrainTest, PicturesCanBeMadeOfATrainedRun) {
  train(tiny_run("run"));
  const Strings machine = {"--run", path("run"), "--device", "cpu"};
  train(Strings{"sample", "-n", "6", "--columns", "3"} + machine);
  EXPECT_EQ(decode_png(read_file_text(path("run/sample.png"))).width, 3 * 66 + 2);
  train(Strings{"reconstruct", "-n", "40", "--columns", "16"} + machine);
  // 40 images in rows of 16 are three pairs of rows.
  EXPECT_EQ(decode_png(read_file_text(path("run/reconstruct.png"))).height, 6 * 66 + 2);
  const Outcome traversal = train(Strings{"traverse", "--steps", "5"} + machine);
  EXPECT_NE(traversal.err.find("rows, by KL in nats:"), std::string::npos);
  EXPECT_EQ(decode_png(read_file_text(path("run/traverse.png"))).height, 2 * 66 + 2);
  train(Strings{"traverse", "--dims", "1", "--range", "-1..1", "--index", "3", "--out",
                path("one.png")} +
        machine);
  EXPECT_EQ(decode_png(read_file_text(path("one.png"))).height, 66 + 2);
}

TEST_F(TrainTest, SamplesDependOnTheirSeedAndOnNothingElse) {
  train(tiny_run("run"));
  const auto sampled = [&](const Strings& more) {
    train(Strings{"sample", "--run", path("run"), "--device", "cpu", "--out", path("s.png")} +
          more);
    return decode_png(read_file_text(path("s.png"))).pixels;
  };
  EXPECT_EQ(sampled({}), sampled({"--seed", "42"}));
  EXPECT_NE(sampled({}), sampled({"--seed", "43"}));
  EXPECT_NE(sampled({}), sampled({"--temperature", "0.5"}));
}

TEST_F(TrainTest, ImagesOfAnotherSizeAreRefused) {
  train(tiny_run("run"));
  // One 2 x 2 image in each split.
  const std::string idx = std::string("\0\0\x08\x03\0\0\0\x01\0\0\0\x02\0\0\0\x02", 16) + "abcd";
  write("small/train-images-idx3-ubyte", idx);
  write("small/t10k-images-idx3-ubyte", idx);
  const Outcome outcome =
      run_in_process({"reconstruct", "--run", path("run"), "--data", path("small")});
  EXPECT_EQ(outcome.status, 4);
  EXPECT_NE(outcome.err.find("images are 1 x 2 x 2; the model was trained on 1 x 8 x 8"),
            std::string::npos)
      << outcome.err;
}

TEST_F(TrainTest, AWeightThatExplodesEndsTheRunWithStatusFive) {
  const Outcome outcome = run_in_process(tiny_run("run") + Strings{"--lr", "1e6", "-e", "50"});
  EXPECT_EQ(outcome.status, 2) << "-e twice is a mistake";
  Strings hot = tiny_run("hot") + Strings{"--lr", "1e6"};
  hot[static_cast<size_t>(std::find(hot.begin(), hot.end(), "-e") - hot.begin()) + 1] = "200";
  const Outcome exploded = run_in_process(hot);
  EXPECT_EQ(exploded.status, 5) << exploded.err;
  EXPECT_EQ(record("hot").at("status"), "failed");
}

}  // namespace
}  // namespace elbo::testing_apps
