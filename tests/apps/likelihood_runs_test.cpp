// Likelihoods from the command line: trained, audited, sampled.
#include <gtest/gtest.h>

#include "tests/apps/program_fixture.h"

namespace elbo {
namespace {

using namespace testing_apps;

class LikelihoodRuns : public ProgramTest {
 protected:
  Outcome run(const Strings& arguments) const {
    const Outcome outcome = run_in_process(arguments);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    return outcome;
  }
  Outcome train(const std::string& likelihood) const {
    return run(tiny_run(likelihood) + Strings{"--set", "model.likelihood=" + likelihood});
  }
};

// Sprites are black and white: a probability of grey levels is one of them too.
TEST_F(LikelihoodRuns, BitsPerDimensionArePrintedWhereTheyExist) {
  EXPECT_NE(train("logistic").err.find(" bits per dim"), std::string::npos);
  EXPECT_NE(train("bernoulli").err.find(" bits per dim"), std::string::npos);
  EXPECT_EQ(train("beta").err.find(" bits per dim"), std::string::npos);
  const auto audited = [&](const std::string& name) {
    return run({"evaluate", "--run", path(name)}).out;
  };
  EXPECT_EQ(audited("logistic").find("not defined"), std::string::npos);
  EXPECT_NE(audited("beta").find("not defined: a density, not a probability, of pixels"),
            std::string::npos);
}

TEST_F(LikelihoodRuns, WhatALikelihoodLearnsIsKept) {
  for (const std::string likelihood : {"gaussian-learned", "gaussian-optimal"}) {
    train(likelihood);
    run({"evaluate", "--run", path(likelihood)});
    run({"reconstruct", "--run", path(likelihood), "-n", "4", "--device", "cpu"});
    run({"train", "--resume", "latest", "--out", path(likelihood), "--epochs", "3"});
  }
}

TEST_F(LikelihoodRuns, PixelsAreDrawnOnRequest) {
  train("gaussian-diagonal");
  const auto picture = [&](const Strings& more) {
    run(Strings{"sample", "--run", path("gaussian-diagonal"), "-n", "4", "--out", path("x.png"),
                "--device", "cpu"} +
        more);
    return read_file_text(path("x.png"));
  };
  const std::string mean = picture({}), drawn = picture({"--draw-pixels"});
  EXPECT_NE(mean, drawn);
  EXPECT_EQ(picture({"--draw-pixels"}), drawn);
  EXPECT_NE(picture({"--draw-pixels", "--seed", "3"}), drawn);
}

TEST_F(LikelihoodRuns, OthersAreRefusedByName) {
  const Outcome outcome = run_in_process(tiny_run("x") + Strings{"--set", "model.likelihood=mse"});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_NE(outcome.err.find("gaussian-optimal"), std::string::npos) << outcome.err;
}

}  // namespace
}  // namespace elbo
