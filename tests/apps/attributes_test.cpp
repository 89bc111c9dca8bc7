// A model that is told attributes, from flags and tables to pictures, and what is refused.
#include <cmath>

#include "engine/io/npy_write.h"
#include "tests/apps/told_fixture.h"
#include "tests/support/picture_samples.h"

namespace elbo {
namespace {

using namespace testing_apps;

class AttributesProgram : public ToldProgram {
 protected:
  void train(const Strings& more = {}) { ToldProgram::train("attributes", more); }
  // Pictures whose first attribute is their grey value. The table is for its writer to put there.
  std::string write_faces() const {
    std::string table = "file,grey,always\n";
    for (int i = 0; i < 20; ++i) {
      const auto grey = static_cast<uint8_t>(12 * i);
      const std::string name = std::to_string(i) + ".png";
      write("faces/" + name, png_file({8, 8, 1, std::vector<uint8_t>(64, grey)}));
      table += name + "," + std::to_string(12 * i) + ",3\n";
    }
    return table;
  }
};

TEST_F(AttributesProgram, SpritesAreDrawnAsTheyAreTold) {
  train();
  const std::string config = read_file_text(path("run/config.toml"));
  EXPECT_NE(config.find("attributes = [\"x\", \"y\", \"size\", \"orientation\"]"),
            std::string::npos)
      << config;
  EXPECT_NE(config.find("attributes = 4"), std::string::npos) << config;
  const std::string mean = picture("sample", {"-n", "4"});
  const std::string right = picture("sample", {"-n", "4", "--attributes", "x=0.9"});
  EXPECT_NE(right, mean);
  EXPECT_NE(picture("sample", {"-n", "4", "--attributes", "x=0.9,size=0.5"}), right);
  EXPECT_EQ(picture("sample", {"-n", "4", "--attributes", "0.9,0.1,0.5,3"}),
            picture("sample", {"-n", "4", "--attributes", "orientation=3,size=0.5,y=0.1,x=0.9"}));
  // Rows are draws, columns values: the last column is what --attributes says of its value.
  const std::string grid = picture("sample", {"--vary", "x=0.1..0.9", "--columns", "3", "-n", "4"});
  ASSERT_EQ(decode_png(grid).height, 4 * 66 + 2);
  const auto row =
      cells_of(picture("sample", {"-n", "4", "--columns", "4", "--attributes", "x=0.9"}), 0);
  for (int64_t draw = 0; draw < 4; ++draw) {
    const auto cells = cells_of(grid, draw);
    ASSERT_EQ(cells.size(), 3u);
    EXPECT_EQ(cells[2], row[static_cast<size_t>(draw)]) << draw;
    EXPECT_NE(cells[0], cells[2]);
  }
  EXPECT_EQ(decode_png(picture("sample", {"--vary", "y=0..1"})).height, 8 * 66 + 2);
}

TEST_F(AttributesProgram, ToolsDecodeAsTheImageOrAsTold) {
  train();
  const std::string own = picture("reconstruct", {"-n", "4"});
  EXPECT_NE(picture("reconstruct", {"-n", "4", "--attributes", "x=0.9"}), own);
  // Image, what its latent decodes to, and the same with another x.
  const std::string edited = picture("edit", {"--from", "0", "--set-attribute", "x=0.9"});
  const auto cells = cells_of(edited, 0);
  ASSERT_GE(cells.size(), 3u);
  EXPECT_EQ(cells[1], cells_of(own, 1)[0]);
  EXPECT_EQ(cells[2], cells_of(picture("reconstruct", {"-n", "4", "--attributes", "x=0.9"}), 1)[0]);
  EXPECT_NE(cells[1], cells[2]);
  const auto rebuilt = cells_of(own, 1);
  ASSERT_GE(rebuilt.size(), 4u);
  const auto near = cells_of(picture("neighbours", {"--from", "2", "--radii", "0", "-n", "1"}), 0);
  EXPECT_EQ(near, (Cells{rebuilt[2], rebuilt[2]}));
  // The middle of each row of a traversal is the image's own code but for that row's latent: 0.
  const auto edge = cells_of(picture("edit", {"--from", "3", "--set", "1=0"}), 0);
  const auto moved =
      cells_of(picture("traverse", {"--from", "3", "--dims", "1", "--steps", "3"}), 0);
  EXPECT_EQ(moved.at(1), edge.at(2));
  const auto centre = cells_of(picture("edit", {"--from", "3", "--set", "0=0", "--set", "1=0"}), 0);
  const auto grid = cells_of(picture("manifold", {"--from", "3", "--steps", "3"}), 1, 0);
  EXPECT_EQ(grid.at(1), centre.at(2));
  expect_all_work({{"encode"},
                   {"decode", "--attributes", "x=0.5", "--latents", path("run/codes.npy")},
                   {"traverse", "--from", "3"},
                   {"traverse", "--attributes", "x=0.5"},
                   {"interpolate", "--attributes", "x=0.5", "--between", "images"},
                   {"neighbours"},
                   {"manifold", "--from", "2"},
                   {"scatter"},
                   {"compress"},
                   {"score"},
                   {"evaluate", "--representation"}});
  expect_audit_and_resume();
}

TEST_F(AttributesProgram, InterpolationGoesFromTheAttributesOfOneImageToThoseOfTheOther) {
  train();
  const auto rebuilt = cells_of(picture("reconstruct", {"-n", "4"}), 1);
  const Strings way = {"--from", "1", "--to", "3", "--steps", "3"};
  const auto cells = cells_of(picture("interpolate", way), 0);
  ASSERT_EQ(cells.size(), 3u);
  EXPECT_EQ(cells[0], rebuilt.at(1));
  EXPECT_EQ(cells[2], rebuilt.at(3));
  // --attributes says more.
  const Strings told = {"--attributes", "x=0.9,size=1"};
  const auto other = cells_of(picture("reconstruct", Strings{"-n", "4"} + told), 1);
  const auto both = cells_of(picture("interpolate", way + told), 0);
  EXPECT_EQ(both.at(0), other.at(1));
  EXPECT_EQ(both.at(2), other.at(3));
  EXPECT_NE(both.at(0), cells[0]);
  // What is no image has the mean of all.
  const auto drawn = cells_of(picture("interpolate", {"--from", "prior:0", "--to", "1"}), 0);
  EXPECT_EQ(drawn.at(0), cells_of(picture("sample", {"-n", "1"}), 0).at(0));
  EXPECT_EQ(drawn.back(), rebuilt.at(1));
  const auto pairs = cells_of(picture("interpolate", {"--pairs", "1", "--seed", "42"}), 0);
  EXPECT_EQ(pairs.at(0), drawn.at(0));
  EXPECT_EQ(run("interpolate", {"--between", "images"}).status, 0);
}

// What decodes with the attributes of each image is what reconstructs them.
TEST_F(AttributesProgram, AFileMayTellThemRowByRow) {
  train();
  const Strings files = {"--latents", path("z.npy"), "--conditions", path("a.npy")};
  ASSERT_EQ(run("encode", {"-n", "4", "-o", path("z.npy"), "--conditions", path("a.npy")}).status,
            0);
  const Strings row = {"--columns", "4"};
  EXPECT_EQ(cells_of(picture("decode", files + row), 0),
            cells_of(picture("reconstruct", {"-n", "4"}), 1));
  EXPECT_EQ(cells_of(picture("decode", files + row + Strings{"--attributes", "x=0.9"}), 0),
            cells_of(picture("reconstruct", {"-n", "4", "--attributes", "x=0.9"}), 1));
  write_npy(real_fs(), path("a.npy"), std::vector<float>(12), {4, 3});
  error(run("decode", files), 4, "a.npy: has shape [4, 3], expected [4, 4]");
  write_npy(real_fs(), path("a.npy"), std::vector<float>(16, NAN), {4, 4});
  error(run("decode", files), 4, "a.npy: attribute 0 of row 0 is nan, expected a finite number");
  // One latent may have one row without a second dimension.
  write_npy(real_fs(), path("z.npy"), std::vector<float>{1, 2}, {2});
  write_npy(real_fs(), path("a.npy"), std::vector<float>{0.9f, 0.1f, 0.5f, 3}, {4});
  const std::string one = picture("decode", files);
  EXPECT_EQ(one, picture("decode", {"--latents", path("z.npy"), "--attributes", "0.9,0.1,0.5,3"}));
  ASSERT_EQ(run_in_process(tiny_run("plain") + Strings{"-q"}).status, 0);
  for (const Strings& more : {Strings{"encode"}, {"decode", "--latents", path("z.npy")}}) {
    error(run_in_process(more + Strings{"--run", path("plain"), "--device", "cpu", "--conditions",
                                        path("a.npy")}),
          2, "--conditions: the model of this run is told nothing of images");
  }
}

TEST_F(AttributesProgram, SomeOfThemAreChosenByName) {
  train({"--set", "data.attributes= size , x "});
  EXPECT_NE(picture("sample", {"--attributes", "size=1"}), picture("sample", {}));
  error(run("sample", {"--attributes", "y=1"}), 2,
        "--attributes: found attribute \"y\", expected one of size, x");
  error(run_in_process(tiny_run("other") +
                       Strings{"--condition", "attributes", "--set", "data.attributes=width"}),
        4, "sprites: there is no attribute \"width\", expected some of x, y, size, orientation");
}

TEST_F(AttributesProgram, RefusesInOneLine) {
  train();
  error(run("sample", {"--attributes", "x"}), 2, "--attributes: ");
  error(run("sample", {"--attributes", "x=high"}), 2, "--attributes: found \"high\"");
  error(run("sample", {"--attributes", "x=0.1,y"}), 2,
        "found \"y\", expected NAME=VALUE, like x=0.5");
  error(run("sample", {"--attributes", "0.1,0.2"}), 2,
        "--attributes: found 2 values, expected 4, or NAME=VALUE of some");
  error(run("sample", {"--attributes", "size=1,x=0.5,size=0.7"}), 2,
        "--attributes: says size twice, expected each name once");
  error(run("edit", {"--set-attribute", "x=0.1", "--set-attribute", "x=0.2"}), 2,
        "--set-attribute: says x twice, expected each name once");
  error(run("sample", {"--attributes", "sise=1"}), 2, "did you mean size?");
  error(run("sample", {"--vary", "x"}), 2,
        "--vary: found \"x\", expected NAME=LOW..HIGH, like x=0..1");
  error(run("sample", {"--vary", "x=1..0"}), 2, "expected LOW..HIGH with LOW below HIGH");
  error(run("sample", {"--vary", "x=0..1", "--attributes", "x=0.5"}), 2,
        "--attributes and --vary both say x");
  error(run("sample", {"--vary", "x=0..1", "--label-grid"}), 2, "exclude each other");
  error(run("sample", {"--label", "1"}), 2, "knows no labels; train one with --condition label");
  error(run("traverse"), 2, "--attributes is missing, expected values of the 4");
  error(run("decode", {"--latents", path("none.npy")}), 4, "none.npy");
  error(run_in_process(tiny_run("few") + Strings{"--condition", "attributes", "--labelled", "12"}),
        2, "model.condition is \"attributes\": the model is told no labels; add --condition label");
  error(run_in_process(tiny_run("five") +
                       Strings{"--condition", "attributes", "--set", "model.attributes=5"}),
        2, "model.attributes is 5, and the images have 4");
  ASSERT_EQ(run_in_process(tiny_run("plain") + Strings{"-q"}).status, 0);
  for (const Strings& more : {Strings{"sample", "--attributes", "x=1"},
                              {"sample", "--vary", "x=0..1"},
                              {"edit", "--set-attribute", "x=1"}}) {
    error(run_in_process(more + Strings{"--run", path("plain"), "--device", "cpu"}), 2,
          "knows no attributes; train one with --condition attributes");
  }
}

// Pictures whose attribute is their grey value, and the same without the table.
TEST_F(AttributesProgram, TablesBesidePicturesAreShownAndTrainedOn) {
  const std::string table = write_faces();
  const Strings training = {"train",
                            "--data",
                            path("faces"),
                            "--out",
                            path("run"),
                            "--device",
                            "cpu",
                            "--threads",
                            "1",
                            "-z",
                            "2",
                            "-b",
                            "8",
                            "-e",
                            "2",
                            "--set",
                            "model.hidden=16",
                            "-q",
                            "--condition",
                            "attributes"};
  error(run_in_process(training), 4,
        "images have no attributes, which model.condition \"attributes\" needs");
  write("faces/attributes.csv", table);
  const Outcome shown = run_in_process({"data", path("faces"), "--cache", "off"});
  ASSERT_EQ(shown.status, 0) << shown.err;
  EXPECT_NE(shown.out.find("in 18 training images"), std::string::npos) << shown.out;
  EXPECT_NE(shown.out.find("  always               3            0            3            3"),
            std::string::npos)
      << shown.out;
  const Outcome trained = run_in_process(training);
  ASSERT_EQ(trained.status, 0) << trained.err;
  EXPECT_NE(picture("sample", {"--attributes", "grey=200"}),
            picture("sample", {"--attributes", "grey=20"}));
  // What never varied says nothing.
  EXPECT_EQ(picture("sample", {"--attributes", "grey=20,always=9"}),
            picture("sample", {"--attributes", "grey=20"}));
  // Images without attributes are told theirs.
  write("bare/a.png", png_file({8, 8, 1, std::vector<uint8_t>(64, 40)}));
  write("bare/b.png", png_file({8, 8, 1, std::vector<uint8_t>(64, 90)}));
  error(run("reconstruct", {"--data", path("bare")}), 4,
        "the images have 0 attributes, and the model was trained with 2");
  EXPECT_EQ(run("reconstruct", {"--data", path("bare"), "--attributes", "grey=50"}).status, 0);
  write("faces/attributes.csv", table + "0.png,1,1\n");
  error(run("reconstruct"), 4, "attributes.csv, line 22: file \"0.png\" has a row above");
}

// Neither runs that are told none nor the other columns suffer from what is wrong with one.
TEST_F(AttributesProgram, WhatIsNotToldMayBeWrong) {
  std::string table = write_faces();
  const auto training = [&](const Strings& more) {
    return run_in_process(Strings{"train", "--data", path("faces"), "--out", path("run"),
                                  "--device", "cpu", "--threads", "1", "-z", "2", "-b", "8", "-e",
                                  "1", "--set", "model.hidden=16", "-q", "--overwrite"} +
                          more);
  };
  const auto called = [&](const std::string& name) {
    write("faces/attributes.csv", "file,grey," + name + table.substr(table.find('\n')));
  };
  const Strings told = {"--condition", "attributes"};
  for (const std::string name : {"gr\xf6sse", "a\1b"}) {
    called(name);
    error(training(told), 4, "attributes.csv: attribute 2 is called \"");
    EXPECT_EQ(training({}).status, 0);
    EXPECT_EQ(training({"--set", "data.attributes=width"}).status, 0);  // a warning says the rest
    ASSERT_EQ(training(told + Strings{"--set", "data.attributes=grey"}).status, 0);
    EXPECT_EQ(run("sample", {"--attributes", "grey=3"}).status, 0);
    const Outcome shown = run_in_process({"data", path("faces"), "--cache", "off"});
    EXPECT_EQ(shown.status, 0);
    EXPECT_NE(shown.err.find("attributes cannot be used: "), std::string::npos) << shown.err;
    EXPECT_EQ(shown.out.find("attribute"), std::string::npos) << shown.out;
  }
  called("gr\xc3\xb6sse");
  ASSERT_EQ(training(told).status, 0);
  EXPECT_EQ(run("sample", {"--attributes", "gr\xc3\xb6sse=3"}).status, 0);
  // Sprites, too.
  EXPECT_EQ(
      run_in_process(tiny_run("sprites") + Strings{"-q", "--set", "data.attributes=width"}).status,
      0);
}

}  // namespace
}  // namespace elbo
