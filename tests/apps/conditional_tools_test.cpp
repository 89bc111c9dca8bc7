// The tools for codes with a conditional model: images are encoded with their own label, latents decoded
// as the label that is asked for.
#include "engine/io/npy_write.h"
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

TEST_F(ConditionalTools, LabelsGoToAFileAndBack) {
  train("label");
  const auto decode = [&](const Strings& more) {
    return run("decode", Strings{"--latents", path("z.npy"), "-o", path("x.npy")} + more);
  };
  const auto pictures = [&](const Strings& more) {
    const Outcome outcome = decode(more);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    return read_file_text(path("x.npy"));
  };
  const auto told = [&](const auto& values, const std::vector<int64_t>& shape) {
    write_npy(real_fs(), path("told.npy"), values, shape);
    return Strings{"--conditions", path("told.npy")};
  };
  const Outcome encoded = run("encode", {"-n", "5", "-o", path("z.npy"), "--conditions",
                                         path("y.npy"), "--labels", path("labels.npy")});
  ASSERT_EQ(encoded.status, 0) << encoded.err;
  EXPECT_EQ(read_file_text(path("y.npy")), read_file_text(path("labels.npy")));
  const Strings own = {"--conditions", path("y.npy")}, ones = {"--label", "1"};
  EXPECT_NE(pictures(own), pictures(ones));
  EXPECT_EQ(pictures(told(std::vector<int32_t>(5, 1), {5, 1})), pictures(ones));
  error(decode(own + ones), 2, "--label and --conditions exclude each other");
  error(decode(told(std::vector<float>{0, 1, 2, 3, 1}, {5})), 4,
        "told.npy: row 3 is 3, expected a label from 0 to 2");
  error(decode(told(std::vector<float>{0, 1, 1, 0.5f, 1}, {5})), 4,
        "told.npy: row 3 is 0.5, expected a label from 0 to 2");
  error(decode(told(std::vector<int32_t>(4), {4})), 4, "told.npy: has shape [4], expected [5]");
}

}  // namespace
}  // namespace elbo::testing_apps
