// Image sets other than MNIST's, from their files to a trained model and its pictures.
#include <algorithm>
#include <filesystem>

#include "apps/data_report.h"
#include "tests/apps/png_reader.h"
#include "tests/apps/program_fixture.h"
#include "tests/support/device.h"
#include "tests/support/numpy_samples.h"
#include "tests/support/picture_samples.h"

namespace elbo::testing_apps {
namespace {

namespace fs = std::filesystem;

class ImageSets : public ProgramTest {
 protected:
  Outcome run(const Strings& arguments) const {
    Outcome outcome = run_in_process(arguments);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    return outcome;
  }
  void expect_refusal(const Strings& arguments, int status, const std::string& part) const {
    const Outcome outcome = run_in_process(arguments);
    EXPECT_EQ(outcome.status, status) << outcome.err;
    EXPECT_NE(outcome.err.find(part), std::string::npos) << outcome.err;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  }
  Strings training(const std::string& data, const std::string& out) const {
    return {"train", "--data", data, "--out", path(out), "--device", "cpu",   "--threads",      "1",
            "-z",    "2",      "-b", "8",     "-e",      "1",        "--set", "model.hidden=16"};
  }

  // The same 50 + 10 colour pictures in both forms, ten classes.
  static SamplePicture picture(int i) { return sample_picture(32, 32, 3, i); }
  std::string cifar_binary() const {
    for (int file = 0; file < 6; ++file) {
      std::string records;
      for (int i = 10 * file; i < 10 * file + 10; ++i) {
        const SamplePicture image = picture(i);
        records += static_cast<char>(i % 10);
        for (size_t c = 0; c < 3; ++c)
          for (size_t p = c; p < image.pixels.size(); p += 3)
            records += static_cast<char>(image.pixels[p]);
      }
      write(file < 5 ? "bin/data_batch_" + std::to_string(file + 1) + ".bin" : "bin/test_batch.bin",
            records);
    }
    return path("bin");
  }
  std::string cifar_folders() const {
    for (int i = 0; i < 60; ++i) {
      const std::string split = i < 50 ? "train/" : "test/";
      write("jpeg/" + split + "class_" + std::to_string(i % 10) + "/" + std::to_string(i) + ".jpg",
            jpeg_file(picture(i)));
    }
    return path("jpeg");
  }
};

TEST_F(ImageSets, CifarTrainsFromItsBinaryFilesAndIsShownInColour) {
  const std::string data = cifar_binary();
  const Outcome outcome = run(training(data, "run"));
  EXPECT_NE(outcome.err.find("50 training and 10 test images of 3 x 32 x 32"), std::string::npos);
  EXPECT_NE(outcome.err.find("done after 7 steps"), std::string::npos) << outcome.err;
  run({"evaluate", "--run", path("run")});
  run({"reconstruct", "--run", path("run"), "-n", "2", "--out", path("r.png"), "--device", "cpu"});
  const Picture shown = decode_png(read_file_text(path("r.png")));
  ASSERT_EQ(shown.channels, 3);
  // Above: test images 50 and 51, enlarged twice, in a frame of 2.
  const SamplePicture first = picture(50);
  for (const auto& [y, x] : {std::pair{0, 0}, {31, 0}, {7, 19}}) {
    for (int c = 0; c < 3; ++c) {
      const auto at = static_cast<size_t>(((2 + 2 * y) * shown.width + 2 + 2 * x) * 3 + c);
      EXPECT_EQ(shown.pixels[at], first.pixels[static_cast<size_t>((y * 32 + x) * 3 + c)]);
    }
  }
}

TEST_F(ImageSets, CifarTrainsFromFoldersOfJpegFilesAndStartsFromTheCacheNextTime) {
  const std::string data = cifar_folders();
  const Outcome first = run(training(data, "run"));
  EXPECT_NE(first.err.find("50 training and 10 test images of 3 x 32 x 32"), std::string::npos);
  EXPECT_NE(first.err.find("read 60 image files"), std::string::npos) << first.err;
  const Outcome resumed = run({"train", "--resume", path("run"), "-e", "2"});
  EXPECT_NE(resumed.err.find("60 images of " + data + " come from " + path("cache/elbo/")),
            std::string::npos)
      << resumed.err;
  const Outcome evaluated = run({"evaluate", "--run", path("run")});
  EXPECT_NE(evaluated.err.find("come from"), std::string::npos) << evaluated.err;
  const Outcome uncached =
      run({"train", "--resume", path("run"), "-e", "3", "--set", "data.cache=off"});
  EXPECT_EQ(uncached.err.find("come from"), std::string::npos) << uncached.err;
}

TEST_F(ImageSets, OtherPicturesAreBroughtToTheSizeOfTheModel) {
  for (int i = 0; i < 12; ++i) {
    write("small/" + std::to_string(i) + ".png", png_file(sample_picture(10, 14, 1, i)));
    write("large/" + std::to_string(i) + ".jpg", jpeg_file(sample_picture(40, 30, 3, i)));
  }
  run(training(path("small"), "run") + Strings{"--image-size", "8x12"});
  run({"reconstruct", "--run", path("run"), "--data", path("large"), "--device", "cpu"});
  run({"traverse", "--run", path("run"), "--data", path("large"), "--device", "cpu"});
  run({"evaluate", "--run", path("run"), "--data", path("large")});
  EXPECT_TRUE(fs::exists(path("run/samples/epoch_0001.png")));
}

TEST_F(ImageSets, NumpyArraysTrain) {
  std::string pixels;
  for (int i = 0; i < 40 * 6; ++i) pixels += static_cast<char>(i * 7);
  write("set.npz", zip_file({{"x_train.npy", npy_file("|u1", "(40, 2, 3)", pixels), true}}));
  const Outcome outcome = run(training(path("set.npz"), "run"));
  EXPECT_NE(outcome.err.find("36 training and 4 test images of 1 x 2 x 3"), std::string::npos);
}

TEST_F(ImageSets, FlippingAndDequantisationChangeTrainingButNotWhatIsTestedOn) {
  const std::string data = cifar_binary();
  const auto last_metrics = [&](const std::string& out, const Strings& more) {
    run(training(data, out) + Strings{"--set", "model.likelihood=gaussian"} + more);
    std::istringstream lines(read_file_text(path(out + "/metrics.jsonl")));
    std::string line, last;
    while (std::getline(lines, line)) last = line;
    return last;
  };
  const std::string plain = last_metrics("plain", {});
  EXPECT_EQ(last_metrics("again", {}), plain);
  EXPECT_NE(last_metrics("flip", {"--set", "data.flip=true"}), plain);
  EXPECT_NE(last_metrics("noise", {"--set", "data.dequantise=true"}), plain);
  const auto originals = [&](const std::string& run_name) {
    run({"reconstruct", "--run", path(run_name), "-n", "8", "--columns", "8", "--out",
         path(run_name + ".png"), "--device", "cpu"});
    const Picture picture = decode_png(read_file_text(path(run_name + ".png")));
    return std::vector<uint8_t>(picture.pixels.begin(),
                                picture.pixels.begin() + picture.width * 3 * 66);
  };
  EXPECT_EQ(originals("flip"), originals("plain"));
  const Outcome audited = run({"evaluate", "--run", path("noise")});
  EXPECT_NE(audited.out.find(", dequantised"), std::string::npos) << audited.out;
  EXPECT_EQ(audited.out.find("not defined"), std::string::npos) << "bits of dequantised bytes";
}

TEST_F(ImageSets, SettingsThatDoNotGoWithTheDataAreRefused) {
  const std::string data = cifar_binary();
  const auto with = [&](const std::string& setting) {
    return training(data, "run") + Strings{"--set", setting, "--quiet"};
  };
  expect_refusal(with("data.image_size=28"), 2,
                 "data.image_size is 28x28, but the images of " + data + " (CIFAR-10) are 32x32");
  expect_refusal(with("data.channels=1"), 2, "data.channels is 1, but the images of");
  expect_refusal(with("data.image_size=0x3"), 2, "expected a size in pixels like 64 or 48x64");
  expect_refusal(with("data.test_fraction=1"), 2, "data.test_fraction");
  expect_refusal(training(data, "run") + Strings{"--set", "data.dequantise=true", "--set",
                                                 "data.binarise=dynamic", "--quiet"},
                 2, "choose one");
  expect_refusal(tiny_run("run") + Strings{"--set", "data.flip=true", "--quiet"}, 2,
                 "data.flip works on stored images");
  EXPECT_FALSE(fs::exists(path("run")));
}

TEST_F(ImageSets, SubsetLimitsTheTrainingImages) {
  const Outcome outcome = run(training(cifar_binary(), "run") + Strings{"--subset", "16"});
  EXPECT_NE(outcome.err.find("16 training and 10 test images"), std::string::npos) << outcome.err;
}

TEST_F(ImageSets, ASetThatTheDeviceHasNoRoomForStaysInHostMemory) {
  if (!why_no_cuda().empty()) GTEST_SKIP() << why_no_cuda();
  std::string pixels;
  for (int i = 0; i < 1200 * 32 * 32; ++i) pixels += static_cast<char>(i * 7 + i / 251);
  write("x.npy", npy_file("|u1", "(1200, 32, 32)", pixels));
  const auto train_on_cuda = [&](const std::string& out, const std::string& mebibytes) {
    Strings arguments = training(path("x.npy"), out);
    *std::find(arguments.begin(), arguments.end(), "cpu") = "cuda";
    return run(arguments + Strings{"--max-steps", "5", "--eval-interval", "0", "--sample-interval",
                                   "0", "--set", "data.device_mb=" + mebibytes});
  };
  const std::string note = "the training images, 1.1 MiB, stay in host memory";
  EXPECT_EQ(train_on_cuda("device", "2").err.find(note), std::string::npos);
  const Outcome in_host = train_on_cuda("host", "1");
  EXPECT_NE(in_host.err.find(note), std::string::npos) << in_host.err;
  const auto weights = [&](const std::string& out) {
    return read_file_text(path(out + "/checkpoints/latest/model.safetensors"));
  };
  EXPECT_FALSE(weights("host").empty());
  EXPECT_EQ(weights("host"), weights("device"));
}

// They lie beside the images of models that are told them, and nowhere otherwise.
TEST_F(ImageSets, AttributesNeedRoomOnTheDevice) {
  if (!why_no_cuda().empty()) GTEST_SKIP() << why_no_cuda();
  write("x.npy", npy_file("|u1", "(1000, 32, 32)", std::string(1000 * 32 * 32, '\7')));
  const std::string row = "\1\2\3\4\5\6" + std::string(26, '\0');  // 32 attributes, 128 bytes
  std::string rows;
  for (int i = 0; i < 1000; ++i) rows += row;
  write("attributes.npy", npy_file("|u1", "(1000, 32)", rows));
  const auto said = [&](const std::string& mebibytes, const Strings& more) {
    Strings arguments = training(path("x.npy"), "run");
    *std::find(arguments.begin(), arguments.end(), "cpu") = "cuda";
    return run(arguments +
               Strings{"--max-steps", "1", "--eval-interval", "0", "--sample-interval", "0",
                       "--overwrite", "--set", "data.device_mb=" + mebibytes} +
               more)
        .err;
  };
  const std::string note = "the training images, 0.9 MiB, stay in host memory";
  const Strings told = {"--condition", "attributes"};
  EXPECT_EQ(said("1", {}).find(note), std::string::npos);
  EXPECT_NE(said("1", told).find(note), std::string::npos);
  EXPECT_EQ(said("2", told).find(note), std::string::npos);
}

TEST_F(ImageSets, DataTellsWhatASetHolds) {
  const Outcome outcome = run({"data", cifar_folders(), "--out", path("grid.png"), "-n", "6",
                               "--columns", "3", "--split", "test"});
  EXPECT_EQ(outcome.out.substr(0, outcome.out.find('\n')),
            path("jpeg") + ": image files, images of 32 x 32, 3 channels (height x width)");
  EXPECT_NE(outcome.out.find("  train        50 images   150.0 KiB  values "), std::string::npos)
      << outcome.out;
  EXPECT_NE(outcome.out.find("  9             5         1  class_9\n"), std::string::npos)
      << outcome.out;
  const Picture grid = decode_png(read_file_text(path("grid.png")));
  EXPECT_EQ(grid.channels, 3);
  EXPECT_EQ(grid.width, 3 * 66 + 2);
  EXPECT_EQ(grid.height, 2 * 66 + 2);
  run({"doctor", "--data", path("jpeg")});
}

TEST_F(ImageSets, DataRefusesWhatItCannotUse) {
  expect_refusal({"data"}, 2, "--data is missing; name the directory or file of images");
  expect_refusal({"data", path("none")}, 4, "there is no such file or directory; check --data");
  expect_refusal({"data", directory()}, 4, "holds no images; looked for IDX");
  expect_refusal({"data", "a", "b"}, 2, "found \"b\", expected a flag");
  expect_refusal({"data", "a", "--data", "b"}, 2, "--data: given 2 times (\"a\", \"b\")");
  expect_refusal({"data", "a", "--image-size", "big"}, 2, "--image-size: found \"big\", expected");
  expect_refusal({"data", "a", "--out", "a.jpg"}, 2, "expected the name of a .png file");
  expect_refusal({"data", cifar_binary(), "--split", "both"}, 2, "expected train or test");
  expect_refusal({"train", "stray"}, 2, "found \"stray\", expected a flag");
}

TEST(DataReport, FiguresAreThoseOfThePixels) {
  ImageSplit split;
  split.count = 2;
  split.height = 1;
  split.width = 2;
  split.channels = 2;
  for (const int value : {0, 51, 255, 51, 0, 51, 255, 51})
    split.file.push_back(static_cast<std::byte>(value));
  split.labels = {2, 0};
  const SplitFigures figures = split_figures(split);
  EXPECT_EQ(figures.lowest, 0);
  EXPECT_EQ(figures.highest, 255);
  EXPECT_EQ(figures.bytes, 8);
  EXPECT_EQ(figures.per_label, (std::vector<int64_t>{1, 0, 1}));
  ASSERT_EQ(figures.channels.size(), 2u);
  EXPECT_DOUBLE_EQ(figures.channels[0].mean, 0.5);
  EXPECT_DOUBLE_EQ(figures.channels[0].deviation, 0.5);
  EXPECT_DOUBLE_EQ(figures.channels[1].mean, 0.2);
  EXPECT_DOUBLE_EQ(figures.channels[1].deviation, 0.0);
}

}  // namespace
}  // namespace elbo::testing_apps
