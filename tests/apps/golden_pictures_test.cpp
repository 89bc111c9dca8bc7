// What every tool draws, against thumbnails in tests/golden/pictures: plain PGM or PPM files of the
// means of square blocks, with the picture's own size in a comment. ELBO_WRITE_GOLDEN=1 writes them
// anew; look at them before you keep them.
//
// The model is trained here. Its weights differ between processors by rounding, which is not visible;
// a frame, a row or a scale that is off by a pixel is.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "engine/io/npy_write.h"
#include "tests/apps/png_reader.h"
#include "tests/apps/program_fixture.h"

namespace elbo::testing_apps {
namespace {

constexpr int64_t kMostBlocks = 64;  // along the longer side
constexpr int kTolerance = 3;        // of 255, of a block's mean

// Means of blocks; those at the right and lower edge may be of fewer pixels.
Picture thumbnail(const Picture& picture) {
  const int64_t longest = std::max(picture.width, picture.height);
  const int64_t block = (longest + kMostBlocks - 1) / kMostBlocks;
  Picture small{(picture.width + block - 1) / block,
                (picture.height + block - 1) / block,
                picture.channels,
                {}};
  for (int64_t y = 0; y < small.height; ++y) {
    for (int64_t x = 0; x < small.width; ++x) {
      for (int64_t c = 0; c < small.channels; ++c) {
        int64_t sum = 0, count = 0;
        for (int64_t i = y * block; i < std::min((y + 1) * block, picture.height); ++i) {
          for (int64_t j = x * block; j < std::min((x + 1) * block, picture.width); ++j, ++count) {
            sum +=
                picture.pixels[static_cast<size_t>((i * picture.width + j) * picture.channels + c)];
          }
        }
        small.pixels.push_back(static_cast<uint8_t>((sum + count / 2) / count));
      }
    }
  }
  return small;
}

std::string size_text(const Picture& picture) {
  return std::to_string(picture.width) + " " + std::to_string(picture.height);
}

void write_golden(const std::string& file, const Picture& picture) {
  const Picture small = thumbnail(picture);
  std::ofstream out(file);
  out << (small.channels == 3 ? "P3" : "P2") << "\n# " << size_text(picture) << "\n"
      << size_text(small) << "\n255\n";
  const auto row = static_cast<size_t>(small.width * small.channels);
  for (size_t i = 0; i < small.pixels.size(); ++i) {
    out << static_cast<int>(small.pixels[i]) << ((i + 1) % row == 0 ? "\n" : " ");
  }
}

void compare_with_golden(const std::string& file, const Picture& picture) {
  std::ifstream in(file);
  std::string kind, hash;
  Picture whole, want;
  int most = 0;
  ASSERT_TRUE(in >> kind >> hash >> whole.width >> whole.height >> want.width >> want.height >>
              most)
      << file << " cannot be read";
  EXPECT_EQ(size_text(picture), size_text(whole));
  EXPECT_EQ(picture.channels == 3 ? "P3" : "P2", kind);
  const Picture found = thumbnail(picture);
  ASSERT_EQ(size_text(found), size_text(want));
  int worst = 0;
  for (size_t i = 0; i < found.pixels.size(); ++i) {
    int value = -1;
    ASSERT_TRUE(in >> value) << file << " ends early";
    worst = std::max(worst, std::abs(value - found.pixels[i]));
  }
  EXPECT_LE(worst, kTolerance) << "largest deviation of a block from " << file;
}

struct GoldenCase {
  const char* name;
  Strings arguments;           // "@name" is a file of Trained
  bool of_run = true;          // --run goes with it
  const char* flag = "--out";  // that names the picture
};

void PrintTo(const GoldenCase& test, std::ostream* out) { *out << test.name; }

class GoldenPictures : public testing::TestWithParam<GoldenCase> {
 protected:
  struct Trained : ProgramTest {
    Trained() {
      Strings train = tiny_run("run") + Strings{"-q", "--lr", "0.004"};
      const auto change = [&](const std::string& from, const std::string& to) {
        std::replace(train.begin(), train.end(), from, to);
      };
      change("model.hidden=16", "model.hidden=48");
      change("data.resolution=8", "data.resolution=16");
      change("data.train_samples=192", "data.train_samples=6400");
      const Outcome outcome = run_in_process(train);
      EXPECT_EQ(outcome.status, 0) << outcome.err;
      std::filesystem::create_directories(path("set"));
      std::vector<uint8_t> colours;
      for (int i = 0; i < 10 * 6 * 4 * 3; ++i) colours.push_back(static_cast<uint8_t>(i * 37));
      write_npy(real_fs(), path("set/x.npy"), colours, {10, 6, 4, 3});
      const std::vector<float> latents = {0, 0, 1, -1, -2, 0.5f, 1.5f, 1.5f};
      write_npy(real_fs(), path("latents.npy"), latents, {4, 2});
    }
    void TestBody() override {}
    using ProgramTest::path;
  };
  static const Trained& trained() {
    static const Trained once;
    return once;
  }
};

TEST_P(GoldenPictures, AreDrawnAgain) {
  const GoldenCase& test = GetParam();
  const std::string picture = trained().path(std::string(test.name) + ".png");
  Strings arguments = test.arguments;
  for (std::string& argument : arguments) {
    if (argument.starts_with("@")) argument = trained().path(argument.substr(1));
  }
  arguments = arguments + Strings{test.flag, picture};
  if (test.of_run)
    arguments = arguments + Strings{"--run", trained().path("run"), "--threads", "1"};
  const Outcome outcome = run_in_process(arguments);
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const Picture drawn = decode_png(read_file_text(picture));
  const std::string golden = std::string(ELBO_SOURCE_DIR "/tests/golden/pictures/") + test.name +
                             (drawn.channels == 3 ? ".ppm" : ".pgm");
  if (std::getenv("ELBO_WRITE_GOLDEN")) {
    write_golden(golden, drawn);
    GTEST_SKIP() << golden << " was written, not compared";
  }
  compare_with_golden(golden, drawn);
}

INSTANTIATE_TEST_SUITE_P(
    Tools, GoldenPictures,
    testing::Values(
        GoldenCase{"sample", {"sample", "-n", "12", "--columns", "6"}},
        GoldenCase{"sample_mixture",
                   {"sample", "-n", "8", "--from", "gmm", "--temperature", "0.7"}},
        GoldenCase{"reconstruct", {"reconstruct", "-n", "10", "--columns", "5"}},
        GoldenCase{"reconstruct_damaged",
                   {"reconstruct", "-n", "6", "--corrupt", "square:5:1,blur:1"}},
        GoldenCase{"interpolate", {"interpolate", "--pairs", "2", "--path", "spherical"}},
        GoldenCase{"interpolate_animated",
                   {"interpolate", "--from", "1", "--to", "2"},
                   true,
                   "--animation"},
        GoldenCase{"traverse", {"traverse", "--steps", "7", "--from", "3"}},
        GoldenCase{"manifold", {"manifold", "--steps", "8"}},
        GoldenCase{"neighbours", {"neighbours", "--from", "0", "-n", "5"}},
        GoldenCase{"edit", {"edit", "--from", "5", "--set", "0=1.5", "--add", "1=-0.5"}},
        GoldenCase{"scatter", {"scatter"}}, GoldenCase{"compress", {"compress", "-n", "8"}},
        GoldenCase{"score_worst", {"score"}, true, "--worst"},
        GoldenCase{"data", {"data", "@set"}, false},
        GoldenCase{"decode", {"decode", "--latents", "@latents.npy"}}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace elbo::testing_apps
