// A run with few labels from flags to figures: train, resume, evaluate, sample, and what is
// refused.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/apps/program_fixture.h"

namespace elbo::testing_apps {
namespace {

class HiddenLabelsProgram : public ProgramTest {
 protected:
  Outcome train(const std::string& out, const Strings& more) const {
    return run_in_process(tiny_run(out) + more);
  }
};

TEST_F(HiddenLabelsProgram, TrainsAndSaysHowManyLabelsItTells) {
  const Strings few = {"--condition", "label", "--labelled", "12"};
  const Outcome outcome = train("run", few);
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(outcome.err.find("labels of 12 are known"), std::string::npos) << outcome.err;
  EXPECT_NE(outcome.err.find(" % classified"), std::string::npos) << outcome.err;
  const std::string config = read_file_text(path("run/config.toml"));
  EXPECT_NE(config.find("classifier = true"), std::string::npos) << config;
  EXPECT_NE(read_file_text(path("run/metrics.jsonl")).find("\"test_accuracy\""), std::string::npos);

  const auto evaluated = [&](const std::string& run) {
    const Outcome result =
        run_in_process({"evaluate", "--run", path(run), "--threads", "1", "--json"});
    EXPECT_EQ(result.status, 0) << result.err;
    return nlohmann::json::parse(result.out).at("accuracy");
  };
  const double accuracy = evaluated("run");
  // What the auditor finds is what training said of the last epoch.
  const std::string said = outcome.err.substr(outcome.err.rfind(", test "));
  EXPECT_NE(said.find(std::to_string(100 * accuracy).substr(0, 4)), std::string::npos)
      << said << " " << accuracy;
  const Outcome table = run_in_process({"evaluate", "--run", path("run"), "--threads", "1"});
  EXPECT_NE(table.out.find("% of images get their label"), std::string::npos) << table.out;

  EXPECT_EQ(run_in_process({"sample", "--run", path("run"), "--label", "2", "-n", "4"}).status, 0);
  // The same images are labelled after a resume: the run goes on as one that was not stopped.
  ASSERT_EQ(train("short", few + Strings{"--max-steps", "7"}).status, 0);
  const Outcome resumed = run_in_process({"train", "--resume", path("short"), "--max-steps", "12"});
  ASSERT_EQ(resumed.status, 0) << resumed.err;
  const std::string weights = "/checkpoints/latest/model.safetensors";
  EXPECT_EQ(read_file_text(path("short" + weights)), read_file_text(path("run" + weights)));
}

TEST_F(HiddenLabelsProgram, PlainModelsHaveNoAccuracy) {
  ASSERT_EQ(train("run", {"--condition", "label"}).status, 0);
  const Outcome result =
      run_in_process({"evaluate", "--run", path("run"), "--threads", "1", "--json"});
  EXPECT_TRUE(nlohmann::json::parse(result.out).at("accuracy").is_null()) << result.err;
}

TEST_F(HiddenLabelsProgram, RefusesWhatMeansNothing) {
  const auto error = [&](const Strings& more, const std::string& part) {
    const Outcome outcome = train("bad", more);
    EXPECT_EQ(outcome.status, 2);
    EXPECT_NE(outcome.err.find(part), std::string::npos) << outcome.err;
    EXPECT_FALSE(std::filesystem::exists(path("bad")));
  };
  error({"--labelled", "12"}, "the model is told no labels; add --condition label");
  error({"--condition", "label", "--labelled", "2"}, "expected at least one of each");
  error({"--condition", "label", "--labelled", "193"},
        "data.labelled is 193; expected a share up to 1, or a number of the 192 training images");
  error({"--condition", "label", "--labelled", "0.5", "--objective", "iwae"},
        "model.classifier goes with the ELBO alone");
  error({"--set", "model.classifier=true"}, "add --condition label");
}

}  // namespace
}  // namespace elbo::testing_apps
