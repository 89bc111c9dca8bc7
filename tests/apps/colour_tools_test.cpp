// Every tool on colour images that are not square and a convolutional model.
#include "engine/io/npy_write.h"
#include "tests/apps/png_reader.h"
#include "tests/apps/program_fixture.h"

namespace elbo::testing_apps {
namespace {

class ColourTools : public ProgramTest {
 protected:
  // Stripes whose colour is the label, 12 high and 8 wide.
  void write_split(const std::string& name, int64_t count) const {
    std::vector<uint8_t> pixels, labels;
    for (int64_t i = 0; i < count; ++i) {
      labels.push_back(static_cast<uint8_t>(i % 3));
      for (int64_t p = 0; p < 12 * 8; ++p) {
        for (int64_t c = 0; c < 3; ++c) {
          pixels.push_back(static_cast<uint8_t>(c == i % 3 ? 40 + 20 * ((p / 8 + i) % 8) : p % 50));
        }
      }
    }
    write_npy(real_fs(), path("set/x_" + name + ".npy"), pixels, {count, 12, 8, 3});
    write_npy(real_fs(), path("set/y_" + name + ".npy"), labels, {count});
  }

  Outcome ok(const Strings& arguments) const {
    const Outcome outcome = run_in_process(arguments + Strings{"--threads", "1"});
    EXPECT_EQ(outcome.status, 0) << testing::PrintToString(arguments) << outcome.err;
    return outcome;
  }

  Picture tool(const Strings& arguments) const {
    ok(arguments + Strings{"--run", path("run"), "-o", path("out.png")});
    return decode_png(read_file_text(path("out.png")));
  }
};

TEST_F(ColourTools, AllOfThem) {
  std::filesystem::create_directories(path("set"));
  write_split("train", 48);
  write_split("test", 20);
  ok({"train",     "--data",
      path("set"), "--out",
      path("run"), "-z",
      "3",         "-b",
      "16",        "-e",
      "1",         "--device",
      "cpu",       "-q",
      "--set",     "model.kind=conv-vae",
      "--set",     "model.encoder=conv 4 k4 s2 relu, linear 16 relu",
      "--set",     "model.decoder=linear 16 relu, linear flat relu, convt image k4 s2"});
  const int64_t width = 8 * 6 + 2, height = 12 * 6 + 2;  // of a cell: at least 64 high
  struct Case {
    Strings arguments;
    int64_t columns, rows;
  };
  for (const Case& c :
       {Case{{"sample", "-n", "6", "--columns", "3", "--from", "gmm"}, 3, 2},
        Case{{"sample", "-n", "4", "--from", "aggregate"}, 4, 1},
        Case{{"traverse", "--steps", "5", "--from", "2"}, 5, 3},
        Case{
            {"interpolate", "--from", "0", "--to", "prior:1", "--animation", path("a.png")}, 11, 1},
        Case{{"neighbours", "-n", "4"}, 5, 6}, Case{{"edit", "--toward", "1"}, 3, 1},
        Case{{"compress", "-n", "10"}, 10, 4}}) {
    const Picture grid = tool(c.arguments);
    EXPECT_EQ(grid.width, c.columns * width + 2) << c.arguments[0];
    EXPECT_EQ(grid.height, c.rows * height + 2) << c.arguments[0];
    EXPECT_EQ(grid.channels, 3);
  }
  EXPECT_EQ(tool({"manifold", "--dims", "0,2", "--steps", "4"}).width, 4 * 8 * 6);
  EXPECT_EQ(tool({"scatter"}).width, 900);
  ok({"encode", "--run", path("run"), "-o", path("c.npy")});
  ok({"decode", "--run", path("run"), "--latents", path("c.npy"), "-o", path("d.npy")});
  EXPECT_NE(read_file_text(path("d.npy")).find("(20, 12, 8, 3)"), std::string::npos);
  ok({"score", "--run", path("run"), "--outlier-label", "1", "--worst", path("w.png")});
  EXPECT_EQ(decode_png(read_file_text(path("w.png"))).channels, 3);
  ok({"evaluate", "--run", path("run"), "--representation"});
}

TEST_F(ColourTools, TrainingCanLeaveALabelOut) {
  std::filesystem::create_directories(path("set"));
  write_split("train", 48);
  write_split("test", 20);
  const Strings train = {"train",     "--data",   path("set"), "--out", path("run"),
                         "-z",        "2",        "-b",        "16",    "-e",
                         "1",         "--device", "cpu",       "--set", "model.hidden=8",
                         "--threads", "1",        "--set"};
  const Outcome outcome = run_in_process(train + Strings{"data.leave_out=1"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(outcome.err.find("32 training and 20 test images"), std::string::npos) << outcome.err;
  ok({"encode", "--run", path("run"), "--split", "train", "-o", path("c.npy"), "--labels",
      path("l.npy")});
  EXPECT_EQ(read_file_text(path("l.npy")).substr(128).find('\x01'), std::string::npos);
  ok({"score", "--run", path("run"), "--outlier-label", "1"});
  const Outcome none = run_in_process(train + Strings{"data.leave_out=3", "--overwrite"});
  EXPECT_EQ(none.status, 4);
  EXPECT_NE(none.err.find("0 of 48 images have label 3"), std::string::npos) << none.err;
  const Outcome sprites =
      run_in_process(tiny_run("s") + Strings{"--set", "data.leave_out=1", "-q"});
  EXPECT_EQ(sprites.status, 2);
  EXPECT_NE(sprites.err.find("data.leave_out works on stored images"), std::string::npos);
}

}  // namespace
}  // namespace elbo::testing_apps
