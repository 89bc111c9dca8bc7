// A conditional model from flags to pictures: what tells it a label, and what is refused.
#include "tests/apps/told_fixture.h"

namespace elbo::testing_apps {
namespace {

using ConditionalProgram = ToldProgram;

TEST_F(ConditionalProgram, EveryLabelIsDrawnInItsOwnWay) {
  train("label");
  // Three shapes, five draws each, 8 x 8 pixels eightfold and the frame.
  const auto grid = decode_png(picture("sample", {"--label-grid", "--columns", "5"}));
  EXPECT_EQ(grid.height, 3 * 66 + 2);
  EXPECT_EQ(grid.width, 5 * 66 + 2);
  const std::string zero = picture("sample", {"--label", "0", "-n", "4"});
  EXPECT_NE(picture("sample", {"--label", "2", "-n", "4"}), zero);
  EXPECT_EQ(picture("sample", {"--label", "0", "-n", "4"}), zero);
  const std::string mixed = picture("sample", {"-n", "4"});  // labels in turn
  EXPECT_NE(mixed, zero);
  const std::string own = picture("reconstruct", {"-n", "4"});
  EXPECT_NE(picture("reconstruct", {"-n", "4", "--label", "1"}), own);
  EXPECT_EQ(run("traverse", {"--label", "1"}).status, 0);
}

// Rows of the two runs take turns; one that knows no labels draws as ever.
TEST_F(ConditionalProgram, TheRunBesideIsToldTheLabelToo) {
  train("label");
  ASSERT_EQ(run_in_process(tiny_run("plain") + Strings{"-q"}).status, 0);
  const Strings label = {"--label", "2", "-n", "3", "--columns", "3"};
  const auto own = rows_of(picture("sample", label));
  ASSERT_EQ(own.size(), 1u);
  for (const Strings& more : {Strings{}, {"--draw-pixels"}}) {
    const auto twice = rows_of(picture("sample", label + more + Strings{"--beside", path("run")}));
    ASSERT_EQ(twice.size(), 2u);
    EXPECT_EQ(twice[0], twice[1]);
    EXPECT_EQ(twice[0] == own[0], more.empty());
  }
  const auto other = rows_of(picture("sample", label + Strings{"--beside", path("plain")}));
  ASSERT_EQ(other.size(), 2u);
  EXPECT_EQ(other[0], own[0]);
  const Outcome plain = run_in_process({"sample", "--run", path("plain"), "-n", "3", "--columns",
                                        "3", "--device", "cpu", "--out", path("plain.png")});
  ASSERT_EQ(plain.status, 0) << plain.err;
  EXPECT_EQ(other[1], rows_of(read_file_text(path("plain.png")))[0]);
}

TEST_F(ConditionalProgram, TheAuditorIsToldToo) {
  train("label");
  EXPECT_NE(read_file_text(path("run/config.toml")).find("classes = 3"), std::string::npos);
  expect_audit_and_resume();
}

TEST_F(ConditionalProgram, RefusesLabelsThatThereAreNot) {
  train("label");
  const Outcome high = run("sample", {"--label", "3"});
  EXPECT_EQ(high.status, 2);
  EXPECT_NE(high.err.find("--label: found \"3\", expected an integer from 0 to 2"),
            std::string::npos)
      << high.err;
  EXPECT_EQ(run("sample", {"--label", "1", "--label-grid"}).status, 2);
  const Outcome untold = run("traverse");
  EXPECT_NE(untold.err.find("--label is missing, expected a label from 0 to 2"), std::string::npos)
      << untold.err;
  const Outcome few =
      run_in_process(tiny_run("few") + Strings{"--condition", "label", "--set", "model.classes=2"});
  EXPECT_EQ(few.status, 4);
  EXPECT_NE(few.err.find("found label 2, expected 0 to 1"), std::string::npos) << few.err;
}

TEST_F(ConditionalProgram, LabelsNeedAConditionAndDataThatHasThem) {
  train("none");
  for (const Strings& asked : {Strings{"--label", "0"}, {"--label-grid"}}) {
    const Outcome outcome = run("sample", asked);
    EXPECT_EQ(outcome.status, 2);
    EXPECT_NE(outcome.err.find("train one with --condition label"), std::string::npos);
  }
  // Two images of 2 x 2 pixels, no labels.
  const std::string images("\0\0\10\3\0\0\0\2\0\0\0\2\0\0\0\2abcdefgh", 24);
  write("bare/train-images-idx3-ubyte", images);
  write("bare/t10k-images-idx3-ubyte", images);
  const Outcome bare =
      run_in_process({"train", "--preset", "mlp-mnist", "--data", path("bare"), "--out",
                      path("bare-run"), "--condition", "label", "--device", "cpu"});
  EXPECT_EQ(bare.status, 4);
  EXPECT_NE(bare.err.find("images have no labels, which model.condition \"label\" needs"),
            std::string::npos)
      << bare.err;
}

}  // namespace
}  // namespace elbo::testing_apps
