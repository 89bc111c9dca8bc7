// `elbo summary`: what it prints is what a model has.
#include <gtest/gtest.h>

#include <cstdio>

#include "tests/apps/program_fixture.h"

namespace elbo {
namespace {

using testing_apps::Outcome;
using testing_apps::run_in_process;

double activation_megabytes(const std::string& text) {
  const size_t at = text.find("activations");
  double megabytes = 0;
  return at != std::string::npos &&
                 std::sscanf(text.c_str() + at, "activations %lf", &megabytes) == 1
             ? megabytes
             : -1;
}

TEST(Summary, ShowsLayersParametersAndMemory) {
  const Outcome outcome =
      run_in_process({"summary", "--preset", "vanilla64", "--image", "3x64x64", "--device", "cpu"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("encoder.12   conv 512 k3 s2 bn leaky_relu         512 x 2 x 2 "
                             "            1181184\n"),
            std::string::npos)
      << outcome.out;
  EXPECT_NE(outcome.out.find("parameters: 3937635\n"), std::string::npos);
  // PyTorch keeps about 270 MB for this step; the plan must not grow beyond what is promised.
  EXPECT_GT(activation_megabytes(outcome.out), 100);
  EXPECT_LT(activation_megabytes(outcome.out), 190);
}

TEST(Summary, ImagesOfSpritesNeedNoSize) {
  const Outcome outcome =
      run_in_process({"summary", "--preset", "burgess64", "-b", "2", "--device", "cpu"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("1 x 64 x 64"), std::string::npos);
}

TEST(Summary, SaysWhatIsMissingOrWrong) {
  const auto error = [](std::vector<std::string> more) {
    std::vector<std::string> arguments = {"summary", "--preset", "conv32", "--device", "cpu"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome outcome = run_in_process(arguments);
    EXPECT_EQ(outcome.status, 2);
    return outcome.err;
  };
  EXPECT_NE(error({}).find("--image is missing"), std::string::npos);
  EXPECT_NE(error({"--image", "3x64"}).find("--image: found \"3x64\", expected CxHxW"),
            std::string::npos);
  EXPECT_NE(error({"--image", "3x2x2"}).find("leaves nothing of an input"), std::string::npos);
}

}  // namespace
}  // namespace elbo
