// Training, reconstructing and evaluating with corrupted inputs, from flags to what is printed.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/apps/png_reader.h"
#include "tests/apps/program_fixture.h"

namespace elbo {
namespace {

using namespace testing_apps;

class RestorationTest : public ProgramTest {
 protected:
  void train(const Strings& more) {
    const Outcome outcome = run_in_process(tiny_run("run") + more);
    ASSERT_EQ(outcome.status, 0) << outcome.err;
  }
  Outcome reconstruct(const Strings& more = {}) {
    Strings arguments = {"reconstruct", "--run", path("run"), "--device", "cpu",
                         "--threads",   "1",     "-n",        "4"};
    return run_in_process(arguments + more);
  }

  // The numbers of the line that begins with `name`.
  static std::vector<double> numbers(const std::string& text, const std::string& name) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      std::istringstream words(line);
      std::string first;
      if (!(words >> first) || first != name) continue;
      if (name == "all") words >> first;  // how many
      std::vector<double> values;
      for (double value; words >> value;) values.push_back(value);
      return values;
    }
    return {};
  }
};

TEST_F(RestorationTest, ShowsCleanCorruptedAndRestoredWithFigures) {
  train({"--corrupt", "gaussian:0.5"});
  const Outcome outcome = reconstruct({"--measure", "40"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  // Three rows of 8 x 8 pixels, eightfold, and the frame.
  EXPECT_EQ(decode_png(read_file_text(path("run/reconstruct.png"))).height, 3 * 66 + 2);
  EXPECT_EQ(decode_png(read_file_text(path("run/reconstructions/epoch_0002.png"))).height,
            6 * 66 + 2);  // 32 images in two groups of three rows
  const std::vector<double> mean = numbers(outcome.out, "all");
  ASSERT_EQ(mean.size(), 4u) << outcome.out;
  // 10 log10(1 / 0.25), and four standard errors over 40 x 64 draws.
  EXPECT_NEAR(mean[0], 6.02, 0.5);
  EXPECT_GT(mean[2], mean[0]);
  EXPECT_EQ(numbers(outcome.out, "3").size(), 4u);
  EXPECT_TRUE(numbers(outcome.out, "4").empty());
  EXPECT_EQ(outcome.out.find("within the mask"), std::string::npos);
  EXPECT_EQ(reconstruct({"--measure", "40"}).out, outcome.out);  // its noise is fixed
}

TEST_F(RestorationTest, TheChainCanBeAnotherOneOrNone) {
  train({});
  const Outcome clean = reconstruct();
  EXPECT_EQ(numbers(clean.out, "all").size(), 2u) << clean.out;
  const Outcome masked = reconstruct({"--corrupt", "square:3", "--measure", "40"});
  EXPECT_EQ(numbers(masked.out, "all").size(), 4u);
  EXPECT_NE(masked.out.find("within the mask: "), std::string::npos) << masked.out;
  train({"--corrupt", "downsample:2", "--overwrite"});
  EXPECT_EQ(numbers(reconstruct().out, "all").size(), 4u);
  EXPECT_EQ(numbers(reconstruct({"--corrupt", "none"}).out, "all").size(), 2u);
}

// Squares over the whole image: then the mask is all of it, and the corrupted images are black.
TEST_F(RestorationTest, TheMaskIsWhatTheChainClears) {
  train({"--corrupt", "square:8"});
  const Outcome outcome = reconstruct({"--measure", "40"});
  const std::vector<double> mean = numbers(outcome.out, "all");
  double within = 0, filled = 0;
  const size_t at = outcome.out.find("within the mask");
  ASSERT_NE(at, std::string::npos) << outcome.out;
  ASSERT_EQ(std::sscanf(outcome.out.c_str() + at,
                        "within the mask: %lf dB; filled with the mean of the test images %lf",
                        &within, &filled),
            2);
  // An untrained network that sees nothing knows no more than the mean.
  EXPECT_LT(within, filled + 0.05);
  EXPECT_NEAR(within, mean[2], 0.01);
}

TEST_F(RestorationTest, EvaluateSeesWhatTheRunSaw) {
  train({"--corrupt", "gaussian:0.5"});
  const auto evaluate = [&](const Strings& more) {
    const Outcome outcome = run_in_process(
        Strings{"evaluate", "--run", path("run"), "--threads", "1", "--json"} + more);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    return nlohmann::json::parse(outcome.out);
  };
  const auto as_trained = evaluate({}), clean = evaluate({"--corrupt", "none"});
  EXPECT_EQ(as_trained.at("corrupt"), "gaussian:0.5");
  EXPECT_TRUE(clean.at("corrupt").is_null());
  EXPECT_NE(as_trained.at("recon_nats"), clean.at("recon_nats"));
  // The trainer's own figure of the same thing, with other noise.
  double test_recon = 0;
  std::istringstream lines(read_file_text(path("run/metrics.jsonl")));
  for (std::string line; std::getline(lines, line);) {
    const auto metrics = nlohmann::json::parse(line);
    if (metrics.contains("test_recon")) test_recon = metrics.at("test_recon");
  }
  EXPECT_NEAR(as_trained.at("recon_nats").get<double>(), test_recon, 0.05 * test_recon);
}

TEST_F(RestorationTest, SaysWhichPartIsWrong) {
  EXPECT_NE(run_in_process(tiny_run("run") + Strings{"--corrupt", "mask:0.1,blr:2"})
                .err.find("\"blr:2\" is no corruption"),
            std::string::npos);
  const Outcome large = run_in_process(tiny_run("run") + Strings{"--corrupt", "square:9"});
  EXPECT_EQ(large.status, 2);
  EXPECT_NE(large.err.find("squares of 9 x 9 do not fit into 8 x 8 pixels"), std::string::npos);
  train({});
  EXPECT_EQ(reconstruct({"--corrupt", "blur:99"}).status, 2);
  EXPECT_EQ(run_in_process({"evaluate", "--run", path("run"), "--corrupt", "square:9"}).status, 2);
}

}  // namespace
}  // namespace elbo
