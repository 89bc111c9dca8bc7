// The tools that walk through the latent space, on a tiny run.
#include <cmath>

#include "apps/latent_files.h"
#include "engine/io/npy_write.h"
#include "tests/apps/png_reader.h"
#include "tests/apps/tool_fixture.h"

namespace elbo::testing_apps {
namespace {

using LatentToolsTest = ToolTest;

// Cell (row, column) of a grid of 8 x 8 sprites, eight times as large, with a frame of `padding`.
std::vector<uint8_t> cell(const Picture& grid, int64_t row, int64_t column, int64_t padding = 2) {
  std::vector<uint8_t> pixels;
  for (int64_t y = 0; y < 8; ++y) {
    for (int64_t x = 0; x < 8; ++x) {
      const int64_t top = padding + row * (64 + padding) + 8 * y;
      const int64_t left = padding + column * (64 + padding) + 8 * x;
      pixels.push_back(grid.pixels[static_cast<size_t>(top * grid.width + left)]);
    }
  }
  return pixels;
}

TEST_F(LatentToolsTest, EncodeAndDecodeAreWhatReconstructDoes) {
  ok({"encode", "--run", run(), "-n", "5", "--first", "2"});
  const auto codes = read_latents(run() + "/codes.npy", 2);
  EXPECT_EQ(codes.size(), 10u);
  ok({"decode", "--run", run(), "--latents", run() + "/codes.npy", "-o", path("d.png")});
  ok({"reconstruct", "--run", run(), "-n", "5", "--first", "2", "--columns", "5", "-o",
      path("r.png")});
  for (int64_t i = 0; i < 5; ++i) {
    EXPECT_EQ(cell(picture("d.png"), 0, i), cell(picture("r.png"), 1, i));
  }
  ok({"decode", "--run", run(), "--latents", run() + "/codes.npy", "-o", path("d.npy")});
  const NpyFile pictures = npy("d.npy");
  EXPECT_EQ(pictures.view.shape, (std::vector<int64_t>{5, 8, 8}));
  EXPECT_EQ(std::lround(pictures.view.real(9) * 255), cell(picture("d.png"), 0, 0)[9]);
}

TEST_F(LatentToolsTest, EncodeAlsoGivesVariancesAndLabels) {
  ok({"encode", "--run", run(), "--split", "train", "-o", path("c.npy"), "--logvar", path("v.npy"),
      "--labels", path("l.npy")});
  EXPECT_EQ(npy("v.npy").view.shape, (std::vector<int64_t>{192, 2}));
  const NpyFile labels = npy("l.npy");
  EXPECT_EQ(labels.view.shape, (std::vector<int64_t>{192}));
  int64_t counts[3] = {0, 0, 0};  // the sprites' three shapes, about as often
  for (int64_t i = 0; i < 192; ++i) ++counts[labels.view.integer(i)];
  for (const int64_t count : counts) EXPECT_GT(count, 40);
}

TEST_F(LatentToolsTest, EncodeAndDecodeRefuseWhatDoesNotFit) {
  const std::vector<float> three(6, 0.5f);
  write_npy(real_fs(), path("three.npy"), three, {2, 3});
  write_npy(real_fs(), path("cube.npy"), three, {1, 3, 2});
  write_npy(real_fs(), path("none.npy"), std::span<const float>{}, {0, 2});
  write_npy(real_fs(), path("nan.npy"), std::vector<float>{0, 1, NAN, 2}, {2, 2});
  write("text.npy", "text");
  const Strings decode = {"decode", "--run", run(), "--latents"};
  error(decode + Strings{path("three.npy")}, 4, "has shape [2, 3], expected [N, 2]");
  error(decode + Strings{path("cube.npy")}, 4, "has shape [1, 3, 2], expected [N, 2]");
  error(decode + Strings{path("none.npy")}, 4, "has shape [0, 2], expected [N, 2]");
  error(decode + Strings{path("nan.npy")}, 4, "latent 0 of row 1 is nan, expected a finite number");
  // Not the model's fault.
  write_npy(real_fs(), path("far.npy"), std::vector<float>{1, 0, 3e38f, -3e38f}, {2, 2});
  error(decode + Strings{path("far.npy")}, 4, "latent 0 of row 1 is 3e+38, too far out");
  error(decode + Strings{path("text.npy")}, 4, "does not start as a .npy file does");
  error(decode + Strings{path("gone.npy")}, 4, "cannot open");
  error({"decode", "--run", run()}, 2, "--latents is missing");
  error({"encode", "--run", run(), "-o", "codes.csv"}, 2, "expected the name of a .npy file");
  error({"encode", "--run", run(), "--first", "40"}, 2,
        "--first: found \"40\", expected an integer "
        "from 0 to 39");
  error({"encode", "--run", run(), "--first", "30", "-n", "11"}, 2,
        "--count: found 11, expected at "
        "most 10");
  error({"encode", "--run", run(), "--split", "all"}, 2, "--split: found \"all\"");
  error({"encode", "--run", plain_run(), "--logvar", path("v.npy")}, 2,
        "a plain autoencoder has no variances");
  // Codes of another model are recognised by their number of latents.
  ok({"encode", "--run", plain_run(), "-o", path("other.npy")});
  error(decode + Strings{path("other.npy")}, 4, "were they encoded by another one?");
}

TEST_F(LatentToolsTest, InterpolationsBeginAndEndAtTheirEnds) {
  ok({"encode", "--run", run(), "-o", path("codes.npy")});
  ok({"reconstruct", "--run", run(), "-n", "8", "--columns", "8", "-o", path("r.png")});
  for (const char* way : {"linear", "spherical"}) {
    ok({"interpolate", "--run", run(), "--from", "2", "--to", path("codes.npy:5"), "--steps", "4",
        "--path", way, "-o", path("i.png")});
    const Picture grid = picture("i.png");
    EXPECT_EQ(grid.width, 4 * 66 + 2);
    EXPECT_EQ(grid.height, 66 + 2);
    EXPECT_EQ(cell(grid, 0, 0), cell(picture("r.png"), 1, 2));
    EXPECT_EQ(cell(grid, 0, 3), cell(picture("r.png"), 1, 5));
  }
}

TEST_F(LatentToolsTest, RandomPairsAreDrawsOfThePriorOrImages) {
  ok({"interpolate", "--run", run(), "--pairs", "3", "--steps", "5", "-o", path("i.png")});
  ok({"sample", "--run", run(), "-n", "6", "--columns", "6", "-o", path("s.png")});
  for (int64_t pair = 0; pair < 3; ++pair) {
    EXPECT_EQ(cell(picture("i.png"), pair, 0), cell(picture("s.png"), 0, 2 * pair));
    EXPECT_EQ(cell(picture("i.png"), pair, 4), cell(picture("s.png"), 0, 2 * pair + 1));
  }
  const Outcome plain = ok({"interpolate", "--run", plain_run(), "--pairs", "2"});
  EXPECT_EQ(plain.err.find("warning"), std::string::npos) << plain.err;  // images are the default
  const Outcome prior = ok({"interpolate", "--run", plain_run(), "--between", "prior"});
  EXPECT_NE(prior.err.find("warning: a plain autoencoder has no prior"), std::string::npos);
}

TEST_F(LatentToolsTest, AnAnimationGoesThereAndBack) {
  ok({"interpolate", "--run", run(), "--pairs", "2", "--steps", "4", "-o", path("i.png"),
      "--animation", path("a.png"), "--fps", "5"});
  const std::string animation = read_file_text(path("a.png"));
  EXPECT_NE(animation.find(std::string("acTL\0\0\0\x06\0\0\0\0", 12)), std::string::npos);
  const Picture first = decode_png(animation);  // as a viewer without the extension
  for (int64_t pair = 0; pair < 2; ++pair) {
    EXPECT_EQ(cell(first, 0, pair), cell(picture("i.png"), pair, 0));
  }
}

TEST_F(LatentToolsTest, LatentsComeFromPictureFilesToo) {
  ok({"reconstruct", "--run", run(), "-n", "1", "-o", path("r.png")});
  Picture original{8, 8, 1, cell(picture("r.png"), 0, 0)};
  write_png(real_fs(), path("original.png"), original);
  ok({"neighbours", "--run", run(), "--from", path("original.png"), "--radii", "0", "-n", "1", "-o",
      path("n.png")});
  EXPECT_EQ(cell(picture("n.png"), 0, 0), cell(picture("r.png"), 1, 0));
}

TEST_F(LatentToolsTest, NeighboursGrowApart) {
  ok({"neighbours", "--run", run(), "--from", "3", "--radii", "0,0.01,30", "-n", "4", "-o",
      path("n.png")});
  const Picture grid = picture("n.png");
  EXPECT_EQ(grid.width, 5 * 66 + 2);
  EXPECT_EQ(grid.height, 3 * 66 + 2);
  const std::vector<uint8_t> middle = cell(grid, 0, 0);
  const auto distance = [&](int64_t row, int64_t column) {
    const std::vector<uint8_t> one = cell(grid, row, column);
    int64_t sum = 0;
    for (size_t i = 0; i < one.size(); ++i) sum += std::abs(one[i] - middle[i]);
    return sum;
  };
  for (int64_t column = 0; column < 5; ++column) EXPECT_EQ(distance(0, column), 0);
  for (int64_t column = 1; column < 5; ++column) {
    EXPECT_LE(distance(1, column), 64);  // a shade per pixel
    EXPECT_GT(distance(2, column), 64);
  }
}

TEST_F(LatentToolsTest, AManifoldIsAGridOfQuantiles) {
  ok({"manifold", "--run", run(), "--steps", "3", "--quantiles", "0.15865525..0.84134475", "-o",
      path("m.png")});
  const Picture grid = picture("m.png");
  EXPECT_EQ(grid.width, 3 * 64);
  EXPECT_EQ(grid.height, 3 * 64);
  // These quantiles are one deviation away. Across is the first latent, up the second.
  write_npy(real_fs(), path("z.npy"), std::vector<float>{-1, 1, 0, 0, 1, -1}, {3, 2});
  ok({"decode", "--run", run(), "--latents", path("z.npy"), "-o", path("d.png")});
  for (int64_t i = 0; i < 3; ++i) {
    const auto expected = cell(picture("d.png"), 0, i), found = cell(grid, i, i, 0);
    for (size_t p = 0; p < expected.size(); ++p) EXPECT_NEAR(found[p], expected[p], 1);
  }
}

TEST_F(LatentToolsTest, AManifoldNeedsTwoLatents) {
  error({"manifold", "--run", plain_run()}, 2,
        "the model has 3 latents, expected 2; choose two with --dims I,J");
  const Outcome plain = ok({"manifold", "--run", plain_run(), "--dims", "2,0", "--from", "7"});
  EXPECT_NE(plain.err.find("a plain autoencoder has no prior: the grid covers a Gaussian fitted to "
                           "codes"),
            std::string::npos)
      << plain.err;
  error({"manifold", "--run", run(), "--dims", "0,2"}, 2,
        "--dims: found \"2\", expected an integer from 0 to 1");
  error({"manifold", "--run", run(), "--dims", "1,1"}, 2, "expected two different latents");
  error({"manifold", "--run", run(), "--quantiles", "0..1"}, 2, "--quantiles: found \"0\"");
  error({"manifold", "--run", run(), "--quantiles", "0.9..0.1"}, 2, "with LOW below HIGH");
}

TEST_F(LatentToolsTest, SourcesThatAreNoneAreNamed) {
  const Strings neighbours = {"neighbours", "--run", run(), "--from"};
  error(neighbours + Strings{"40"}, 2, "--from: found \"40\", expected an integer from 0 to 39");
  error(neighbours + Strings{"nowhere"}, 2, "expected the index of a test image, a picture file");
  error(neighbours + Strings{"-3"}, 2, "expected the index of a test image");
  error(neighbours + Strings{path("gone.png")}, 4, "gone.png");
  write("bad.png", "no picture");
  error(neighbours + Strings{path("bad.png")}, 4, path("bad.png: "));
  ok({"encode", "--run", run(), "-o", path("c.npy")});
  error(neighbours + Strings{path("c.npy:40")}, 2, "expected an integer from 0 to 39");
  error({"interpolate", "--run", run(), "--from", "1"}, 2, "give both --from and --to, or neither");
  error({"interpolate", "--run", run(), "--path", "curved"}, 2, "expected linear or spherical");
  error({"interpolate", "--run", run(), "--between", "us"}, 2, "expected prior or images");
  error({"neighbours", "--run", run(), "--radii", "1,x"}, 2, "--radii: found \"x\"");
  error({"traverse", "--run", run(), "--index", "1", "--from", "mean"}, 2, "say the same");
}

TEST_F(LatentToolsTest, ATraversalStartsWhereItIsTold) {
  ok({"traverse", "--run", run(), "--index", "4", "--steps", "3", "-o", path("a.png")});
  ok({"traverse", "--run", run(), "--from", "4", "--steps", "3", "-o", path("b.png")});
  EXPECT_EQ(picture("a.png").pixels, picture("b.png").pixels);
  ok({"traverse", "--run", run(), "--from", "prior:1", "--steps", "3", "-o", path("c.png")});
  EXPECT_NE(picture("a.png").pixels, picture("c.png").pixels);
}

TEST_F(LatentToolsTest, ScattersAreChartsOfCodes) {
  const Outcome two = ok({"scatter", "--run", run(), "-o", path("s.png")});
  EXPECT_NE(two.out.find("40 points, latent 1 against latent 0"), std::string::npos) << two.out;
  const Picture chart = picture("s.png");
  EXPECT_EQ(chart.width, 900);
  EXPECT_EQ(chart.channels, 3);
  const Outcome pca = ok({"scatter", "--run", plain_run(), "-n", "20", "-o", path("s.svg")});
  EXPECT_NE(pca.out.find("20 points, component 2"), std::string::npos) << pca.out;
  const std::string svg = read_file_text(path("s.svg"));
  size_t circles = 0;
  for (size_t at = 0; (at = svg.find("<circle", at)) != std::string::npos; ++at) ++circles;
  EXPECT_EQ(circles, 20u + 3u);  // points, and the legend of three shapes
  EXPECT_NE(svg.find(">ellipse</text>"), std::string::npos);
  error({"scatter", "--run", run(), "--dims", "0,5"}, 2, "--dims: found \"5\"");
  error({"scatter", "--run", run(), "--dims", "0"}, 2, "expected two latents");
  error({"scatter", "--run", run(), "--dims", "0,1", "--pca"}, 2, "exclude each other");
  error({"scatter", "--run", run(), "-o", "x.pdf"}, 2, "expected the name of a .png or .svg file");
}

}  // namespace
}  // namespace elbo::testing_apps
