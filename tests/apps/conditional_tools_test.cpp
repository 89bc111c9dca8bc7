// The tools for codes with a conditional model: images are encoded with their own label, latents decoded
// as the label that is asked for.
#include <gtest/gtest.h>

#include "tests/apps/program_fixture.h"

namespace elbo::testing_apps {
namespace {

class ConditionalTools : public ProgramTest {
 protected:
  Outcome tool(const Strings& arguments) const {
    return run_in_process(arguments + Strings{"--run", path("run"), "--threads", "1"});
  }
};

TEST_F(ConditionalTools, EncodeAsTheImageAndDecodeAsTold) {
  ASSERT_EQ(run_in_process(tiny_run("run") + Strings{"--condition", "label", "-q"}).status, 0);
  for (const Strings& arguments :
       {Strings{"encode"},
        {"scatter"},
        {"compress"},
        {"score", "--outlier-label", "1"},
        {"evaluate", "--representation"},
        {"neighbours", "--label", "0"},
        {"interpolate", "--label", "1", "--between", "images"},
        {"manifold", "--label", "2"},
        {"edit", "--label", "2", "--toward", "0"},
        {"sample", "--from", "gmm", "--label", "1"},
        {"decode", "--label", "2", "--latents", path("run/codes.npy")}}) {
    const Outcome outcome = tool(arguments);
    EXPECT_EQ(outcome.status, 0) << arguments[0] << ": " << outcome.err;
  }
  for (const Strings& arguments : {Strings{"neighbours"}, {"interpolate"}, {"manifold"}}) {
    const Outcome outcome = tool(arguments);
    EXPECT_EQ(outcome.status, 2) << arguments[0];
    EXPECT_NE(outcome.err.find("--label is missing, expected a label from 0 to 2"),
              std::string::npos)
        << outcome.err;
  }
}

}  // namespace
}  // namespace elbo::testing_apps
