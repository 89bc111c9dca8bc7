// The tools for codes with a conditional model: images are encoded with their own label, latents decoded
// as the label that is asked for.
#include "tests/apps/told_fixture.h"

namespace elbo::testing_apps {
namespace {

using ConditionalTools = ToldProgram;

TEST_F(ConditionalTools, EncodeAsTheImageAndDecodeAsTold) {
  train("label");
  expect_all_work({{"encode"},
                   {"scatter"},
                   {"compress"},
                   {"score", "--outlier-label", "1"},
                   {"evaluate", "--representation"},
                   {"neighbours", "--label", "0"},
                   {"interpolate", "--label", "1", "--between", "images"},
                   {"manifold", "--label", "2"},
                   {"edit", "--label", "2", "--toward", "0"},
                   {"sample", "--from", "gmm", "--label", "1"},
                   {"decode", "--label", "2", "--latents", path("run/codes.npy")}});
  for (const std::string command : {"neighbours", "interpolate", "manifold"})
    error(run(command), 2, "--label is missing, expected a label from 0 to 2");
}

}  // namespace
}  // namespace elbo::testing_apps
