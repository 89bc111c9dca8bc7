// evaluate --conditional-samples: samples of a model that has learned its labels are told apart,
// those of one that has not are not.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/apps/program_fixture.h"

namespace elbo::testing_apps {
namespace {

class ConditionalProbe : public ProgramTest {
 protected:
  // IDX files of 4 x 4 pixels: label 0 is bright above, label 1 below, label 2 all over.
  void write_split(const std::string& name, int count) {
    std::string images, labels("\0\0\10\1\0\0\0", 7);
    images.assign("\0\0\10\3\0\0\0", 7);
    images += static_cast<char>(count);
    labels += static_cast<char>(count);
    images.append("\0\0\0\4\0\0\0\4", 8);
    for (int i = 0; i < count; ++i) {
      const int label = i % 3;
      labels += static_cast<char>(label);
      for (int pixel = 0; pixel < 16; ++pixel) {
        const bool bright = label == 2 || pixel / 8 == label;
        const int noise = (i * 37 + pixel * 11) % 50;
        images += static_cast<char>(bright ? 255 - noise : noise);
      }
    }
    write("data/" + name + "-images-idx3-ubyte", images);
    write("data/" + name + "-labels-idx1-ubyte", labels);
  }

  void train(const std::string& epochs, const Strings& more = {}) {
    write_split("train", 120);
    write_split("t10k", 30);
    const Outcome outcome = run_in_process(Strings{"train",
                                                   "--preset",
                                                   "mlp-mnist",
                                                   "--data",
                                                   path("data"),
                                                   "--out",
                                                   path("run"),
                                                   "--device",
                                                   "cpu",
                                                   "--threads",
                                                   "1",
                                                   "-z",
                                                   "2",
                                                   "-b",
                                                   "20",
                                                   "-e",
                                                   epochs,
                                                   "--set",
                                                   "model.hidden=24",
                                                   "--lr",
                                                   "0.01",
                                                   "--sample-interval",
                                                   "0",
                                                   "-q"} +
                                           more);
    ASSERT_EQ(outcome.status, 0) << outcome.err;
  }
  Outcome evaluate(const Strings& more) {
    return run_in_process(Strings{"evaluate", "--run", path("run"), "--threads", "1"} + more);
  }
};

TEST_F(ConditionalProbe, TellsSamplesOfATrainedModelApart) {
  train("30", {"--condition", "label"});
  const Outcome outcome = evaluate({"--json", "--conditional-samples", "40"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const auto json = nlohmann::json::parse(outcome.out).at("conditional_samples");
  EXPECT_EQ(json.at("train_images"), 120);
  EXPECT_EQ(json.at("samples_per_label"), 40);
  EXPECT_EQ(json.at("probe_accuracy"), 1.0);
  EXPECT_GE(json.at("accuracy"), 0.95);
  ASSERT_EQ(json.at("accuracy_by_label").size(), 3u);
  const Outcome table = evaluate({"--conditional-samples", "40"});
  EXPECT_NE(table.out.find("% taken for the label they were drawn as, 40 of each"),
            std::string::npos)
      << table.out;
  const Outcome again = evaluate({"--json", "--conditional-samples", "40"});
  EXPECT_EQ(again.out, outcome.out);
}

// Grey pictures look like one label, whatever was asked for.
TEST_F(ConditionalProbe, GuessesAtSamplesOfAModelThatHasLearnedNothing) {
  train("0", {"--condition", "label"});
  const Outcome outcome = evaluate({"--json", "--conditional-samples", "40"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const auto json = nlohmann::json::parse(outcome.out).at("conditional_samples");
  EXPECT_EQ(json.at("probe_accuracy"), 1.0);
  EXPECT_LE(json.at("accuracy"), 0.7);
}

TEST_F(ConditionalProbe, NeedsAModelThatKnowsLabels) {
  train("1");
  const Outcome plain = evaluate({"--conditional-samples", "10"});
  EXPECT_EQ(plain.status, 2);
  EXPECT_NE(plain.err.find("--conditional-samples: the model of this run knows no labels; train "
                           "one with --condition label"),
            std::string::npos)
      << plain.err;
  EXPECT_EQ(evaluate({"--conditional-samples", "0"}).status, 2);
  const Outcome bare =
      run_in_process({"evaluate", "--checkpoint", "vae.safetensors", "--conditional-samples", "1"});
  EXPECT_EQ(bare.status, 2);
  EXPECT_NE(bare.err.find("--conditional-samples needs a run with its data"), std::string::npos);
}

}  // namespace
}  // namespace elbo::testing_apps
