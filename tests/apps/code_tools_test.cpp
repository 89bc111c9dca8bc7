// The tools that judge, change and replace codes, on a tiny run.
#include <cmath>
#include <nlohmann/json.hpp>

#include "apps/image_sheet.h"
#include "apps/latent_files.h"
#include "engine/io/image_file.h"
#include "engine/io/npy_write.h"
#include "models/image_quality.h"
#include "tests/apps/tool_fixture.h"

namespace elbo::testing_apps {
namespace {

using CodeToolsTest = ToolTest;

TEST_F(CodeToolsTest, EvaluateMeasuresRepresentations) {
  const Outcome table = ok({"evaluate", "--run", run(), "--representation"});
  EXPECT_NE(table.out.find("192 training images, 40 test images"), std::string::npos) << table.out;
  EXPECT_NE(table.out.find("from as many principal components"), std::string::npos);
  const auto json = nlohmann::json::parse(
      ok({"evaluate", "--run", run(), "--json", "--representation", "100"}).out);
  const auto& figures = json.at("representation");
  EXPECT_EQ(figures.at("train_images"), 100);
  EXPECT_EQ(figures.at("test_images"), 40);
  for (const char* name : {"linear_probe_accuracy", "nearest_neighbour_accuracy"}) {
    const double share = figures.at(name);
    EXPECT_GE(share, 0);
    EXPECT_LE(share, 1);
    EXPECT_NEAR(share * 40, std::round(share * 40), 1e-9);
  }
  EXPECT_GT(figures.at("mse"), figures.at("pca_mse").get<double>());  // twelve steps of training
  EXPECT_GT(figures.at("pca_mse"), 0);
  EXPECT_TRUE(figures.at("aggregate_kl_nats").is_number());
  EXPECT_TRUE(json.at("neg_elbo_nats").is_number());
  const auto plain = nlohmann::json::parse(
      ok({"evaluate", "--run", plain_run(), "--json", "--representation"}).out);
  EXPECT_TRUE(plain.at("representation").at("aggregate_kl_nats").is_null());
  error({"evaluate", "--checkpoint", "vae.safetensors", "--representation"}, 2,
        "--representation needs a run with its data");
  error({"evaluate", "--run", run(), "--representation", "1"}, 2, "--representation: found \"1\"");
}

TEST_F(CodeToolsTest, ScoresAverageToWhatEvaluateSays) {
  const auto json =
      nlohmann::json::parse(ok({"evaluate", "--run", run(), "--json", "--nll-samples", "4"}).out);
  ok({"score", "--run", run(), "--nll-samples", "4"});
  std::istringstream lines(read_file_text(run() + "/scores.csv"));
  std::string line;
  std::getline(lines, line);
  EXPECT_EQ(line, "index,label,recon_nats,kl_nats,neg_elbo_nats,nll_nats");
  double sums[6] = {};
  int64_t count = 0;
  for (; std::getline(lines, line); ++count) {
    std::istringstream cells(line);
    std::string cell;
    for (double& sum : sums) {
      std::getline(cells, cell, ',');
      sum += std::stod(cell) / 40;
    }
  }
  EXPECT_EQ(count, 40);
  EXPECT_NEAR(sums[2], json.at("recon_nats"), 1e-9);
  EXPECT_NEAR(sums[3], json.at("kl_nats"), 1e-9);
  EXPECT_NEAR(sums[4], json.at("neg_elbo_nats"), 1e-9);
  EXPECT_NEAR(sums[5], json.at("nll_nats"), 1e-9);
}

TEST_F(CodeToolsTest, APlainAutoencoderHasNoLikelihoodToEstimate) {
  for (const char* tool : {"evaluate", "score"}) {
    error({tool, "--run", plain_run(), "--nll-samples", "4"}, 2, "has no log p(x) to estimate");
  }
}

TEST_F(CodeToolsTest, ScoresTellOutliers) {
  const Outcome outcome =
      ok({"score", "--run", run(), "--outlier-label", "2", "--worst", path("w.png")});
  EXPECT_NE(outcome.out.find("neg_elbo_nats  mean"), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("AUROC 0."), std::string::npos) << outcome.out;
  EXPECT_EQ(picture("w.png").height, 5 * 66 + 2);  // all 40, eight in a row
  const Outcome plain = ok({"score", "--run", plain_run()});
  EXPECT_EQ(plain.out.find("neg_elbo"), std::string::npos) << plain.out;  // there is no bound
  error({"score", "--run", run(), "--outlier-label", "3"}, 2, "--outlier-label: found 3");
  error({"score", "--run", run(), "-o", "scores.txt"}, 2, "expected the name of a .csv file");
  error({"score"}, 2, "--run is missing");
}

TEST_F(CodeToolsTest, EditChangesLatents) {
  write_npy(real_fs(), path("z.npy"), std::vector<float>{0.5f, -1}, {2});
  const Strings edit = {"edit",        "--run",      run(),          "--from",
                        path("z.npy"), "--sample-z", path("out.npy")};
  const auto result = [&](const Strings& changes) {
    ok(edit + changes);
    return read_latents(path("out.npy"), 2);
  };
  using Latent = std::vector<float>;
  EXPECT_EQ(result({}), (Latent{0.5f, -1}));
  EXPECT_EQ(result({"--set", "1=2.5"}), (Latent{0.5f, 2.5f}));
  EXPECT_EQ(result({"--add", "1=0.25", "--add", "1=0.25"}), (Latent{0.5f, -0.5f}));
  EXPECT_EQ(result({"--swap", "0,1"}), (Latent{-1, 0.5f}));
  // Setting, adding, swapping, in this order whatever that of the flags.
  EXPECT_EQ(result({"--swap", "0,1", "--add", "0=1", "--set", "0=3"}), (Latent{-1, 4}));
}

TEST_F(CodeToolsTest, EditDecodesWhatItChanged) {
  ok({"edit", "--run", run(), "--from", "3", "--set", "0=2", "--sample-z", path("z.npy"),
      "--sample-x", path("x.npy")});
  EXPECT_EQ(picture_of(run() + "/edit.png").width, 3 * 66 + 2);  // image, before, after
  ok({"decode", "--run", run(), "--latents", path("z.npy"), "-o", path("d.npy")});
  EXPECT_EQ(read_file_text(path("x.npy")), read_file_text(path("d.npy")));
  ok({"edit", "--run", run(), "--from", "mean", "--sample-x", path("x.png")});
  EXPECT_EQ(picture("x.png").width, 8);
  EXPECT_EQ(picture_of(run() + "/edit.png").width, 2 * 66 + 2);  // there is no image
}

// Moving by the difference of means takes the mean of the others to the mean of the label.
TEST_F(CodeToolsTest, EditMovesTowardsALabel) {
  ok({"encode", "--run", run(), "--split", "train", "-o", path("c.npy"), "--labels",
      path("l.npy")});
  const auto codes = read_latents(path("c.npy"), 2);
  const NpyFile labels = npy("l.npy");
  double means[2][2] = {}, counts[2] = {};
  for (int64_t i = 0; i < 192; ++i) {
    const bool heart = labels.view.integer(i) == 2;
    ++counts[heart];
    for (int64_t d = 0; d < 2; ++d) means[heart][d] += codes[static_cast<size_t>(2 * i + d)];
  }
  for (const char* kind : {"mean", "logistic"}) {
    ok({"edit", "--run", run(), "--from", "mean", "--toward", "2=2", "--direction", kind,
        "--sample-z", path("z.npy")});
    const auto z = read_latents(path("z.npy"), 2);
    double along = 0, squares = 0;
    for (size_t d = 0; d < 2; ++d) {
      const double difference = means[1][d] / counts[1] - means[0][d] / counts[0];
      along += z[d] * difference;
      squares += difference * difference;
      if (std::string(kind) == "mean") {
        EXPECT_NEAR(z[d], 2 * difference, 1e-5);
      }
    }
    EXPECT_GT(along, 0) << kind;
  }
}

TEST_F(CodeToolsTest, EditRefusesWhatIsNotThere) {
  const Strings edit = {"edit", "--run", run(), "--from", "mean"};
  error(edit + Strings{"--set", "2=1"}, 2, "--set: found \"2\", expected an integer from 0 to 1");
  error(edit + Strings{"--set", "1"}, 2, "--set: found \"1\", expected LATENT=VALUE");
  error(edit + Strings{"--add", "0=x"}, 2, "--add: found \"x\"");
  error(edit + Strings{"--swap", "0"}, 2, "--swap: found \"0\", expected two latents");
  error(edit + Strings{"--toward", "9"}, 2, "--toward: found label 9, expected one of 0, 1, 2");
  error(edit + Strings{"--toward", "1", "--direction", "up"}, 2, "expected mean or logistic");
  error(edit + Strings{"--sample-x", "x.txt"}, 2, "expected the name of a .png or .npy file");
}

TEST_F(CodeToolsTest, SamplesComeFromWhereCodesLie) {
  const auto sampled = [&](const std::string& which, const Strings& more) {
    ok(Strings{"sample", "--run", which, "-n", "4", "-o", path("s.png")} + more);
    return picture("s.png").pixels;
  };
  EXPECT_EQ(sampled(run(), {}), sampled(run(), {"--from", "prior"}));
  for (const char* from : {"aggregate", "gmm"}) {
    const auto first = sampled(run(), {"--from", from});
    EXPECT_EQ(first, sampled(run(), {"--from", from}));
    EXPECT_NE(first, sampled(run(), {"--from", from, "--seed", "7"}));
    EXPECT_NE(first, sampled(run(), {"--from", from, "--temperature", "0.1"}));
    const Outcome plain = ok({"sample", "--run", plain_run(), "--from", from});
    EXPECT_EQ(plain.err.find("warning"), std::string::npos) << plain.err;  // needs no prior
  }
  const Outcome prior = ok({"sample", "--run", plain_run()});
  EXPECT_NE(prior.err.find("a plain autoencoder has no prior"), std::string::npos) << prior.err;
  const Outcome gmm = ok({"sample", "--run", run(), "--from", "gmm", "--components", "3",
                          "--covariance", "diagonal", "--images", "100"});
  EXPECT_NE(gmm.err.find("gmm: 3 components"), std::string::npos) << gmm.err;
  error({"sample", "--run", run(), "--from", "here"}, 2, "expected prior, aggregate or gmm");
  error({"sample", "--run", run(), "--from", "gmm", "--components", "193"}, 2,
        "--components: found 193, expected at most 192");
  error({"sample", "--run", run(), "--from", "gmm", "--covariance", "none"}, 2,
        "expected full or diagonal");
}

// The same draws, a VAE's pictures above those of a plain autoencoder with as many latents.
TEST_F(CodeToolsTest, SamplesOfTwoRunsStandSideBySide) {
  ok({"sample", "--run", run(), "-n", "6", "--columns", "3", "--beside", plain_run(), "-o",
      path("both.png")});
  ok({"sample", "--run", run(), "-n", "6", "--columns", "3", "-o", path("first.png")});
  ok({"sample", "--run", plain_run(), "-n", "6", "--columns", "3", "-o", path("second.png")});
  const Picture both = picture("both.png");
  EXPECT_EQ(both.height, 4 * 66 + 2);
  const auto row = [](const Picture& grid, int64_t number) {
    const auto begin = grid.pixels.begin() + (2 + number * 66) * grid.width;
    return std::vector<uint8_t>(begin, begin + 64 * grid.width);
  };
  for (int64_t i = 0; i < 2; ++i) {
    EXPECT_EQ(row(both, 2 * i), row(picture("first.png"), i));
    EXPECT_EQ(row(both, 2 * i + 1), row(picture("second.png"), i));
  }
  error({"sample", "--run", run(), "--beside", path("none")}, 2, "holds no checkpoints/");
}

TEST_F(CodeToolsTest, CompressComparesSizesAndLikeness) {
  const Outcome outcome = ok({"compress", "--run", run(), "--bits", "4"});
  EXPECT_NE(outcome.out.find("40 images of 64 bytes"), std::string::npos) << outcome.out;
  for (const char* line : {"2 latents, fp32                   8.0      8.0",
                           "2 latents, 4 bits                 1.0     64.0",
                           "2 components, 4 bits              1.0     64.0", "JPEG, quality "}) {
    EXPECT_NE(outcome.out.find(line), std::string::npos) << outcome.out;
  }
  const size_t png = outcome.out.find("\nPNG");
  EXPECT_NE(outcome.out.substr(png, 80).find("100.00  1.0000"), std::string::npos) << outcome.out;
  const Picture shown = picture_of(run() + "/compress.png");
  EXPECT_EQ(shown.width, 16 * 66 + 2);
  EXPECT_EQ(shown.height, 4 * 66 + 2);
  error({"compress", "--run", run(), "--bits", "0"}, 2, "--bits: found \"0\"");
}

TEST(ImageSheet, GivesImagesBack) {
  for (const ImageShape& shape : {ImageShape{1, 5, 7}, ImageShape{3, 4, 9}}) {
    std::vector<float> images;
    for (int64_t i = 0; i < 6 * shape.size(); ++i) {
      images.push_back(static_cast<float>(i * 37 % 256) / 255.0f);
    }
    const Picture sheet = image_sheet(images, shape);
    EXPECT_EQ(sheet.width, 3 * shape.width);
    EXPECT_EQ(sheet.height, 2 * shape.height);
    EXPECT_EQ(images_of_sheet(sheet, 6, shape), images);
  }
}

TEST(ImageSheet, AJpegIsAsGoodAsAskedAndNoBetterThanNeeded) {
  const ImageShape shape{3, 16, 16};
  std::vector<float> images;
  for (int64_t i = 0; i < 9 * shape.size(); ++i) {
    const auto x = static_cast<float>(i / 3 % 16), y = static_cast<float>(i / 48 % 16);
    images.push_back(0.5f + 0.4f * std::sin(0.7f * x + static_cast<float>(i % 3)) * std::cos(y));
  }
  const JpegSheet good = jpeg_as_good_as(images, shape, 30),
                  poor = jpeg_as_good_as(images, shape, 20);
  EXPECT_GE(image_quality(images, good.images, shape.as_size()).psnr_db, 30);
  EXPECT_GE(image_quality(images, poor.images, shape.as_size()).psnr_db, 20);
  EXPECT_LT(poor.quality, good.quality);
  EXPECT_LT(poor.bytes, good.bytes);
  EXPECT_EQ(jpeg_as_good_as(images, shape, 1000).quality, 100);  // the best there is
}

}  // namespace
}  // namespace elbo::testing_apps
