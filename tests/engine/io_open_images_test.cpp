#include "engine/io/open_images.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "tests/support/error_of.h"
#include "tests/support/malformed.h"
#include "tests/support/numpy_samples.h"
#include "tests/support/picture_samples.h"
#include "tests/support/temp_dir.h"

namespace elbo {
namespace {

class OpenImagesTest : public testing::Test {
 protected:
  void put(const std::string& name, const std::string& file) {
    make_directories(fs, parent_path(dir / name));
    write_file(fs, dir / name, file);
  }
  ImageSet open(const std::string& name = "", const ImageSetOptions& options = {}) {
    return open_image_set(fs, name.empty() ? dir.path() : dir / name, options, log);
  }
  std::string refusal(const std::string& name = "") {
    return error_of([&] { open(name); });
  }
  static std::string text(const ImageSplit& split) {
    return {split.pixels().begin(), split.pixels().end()};
  }

  Fs& fs = real_fs();
  TempDir dir;
  std::string said;
  Log log{false, Terminal{}, [this](std::string_view line) { said += line; }};
};

std::string reals(const std::vector<float>& values) {
  std::string text;
  for (const float value : values) text += little_endian(std::bit_cast<uint32_t>(value), 4);
  return text;
}

TEST_F(OpenImagesTest, AnArchiveWithBothSplitsIsTakenAsItIs) {
  put("mnist.npz",
      zip_file({{"x_train.npy", npy_file("|u1", "(2, 1, 2)", "abcd"), true},
                {"y_train.npy", npy_file("<i8", "(2,)", little_endian(3) + little_endian(255))},
                {"x_test.npy", npy_file("|u1", "(1, 1, 2)", "ef")},
                {"y_test.npy", npy_file("|u1", "(1, 1)", "\1")},
                {"notes.txt", "not read"}}));
  for (const char* name : {"mnist.npz", ""}) {
    const ImageSet set = open(name);
    EXPECT_EQ(set.format, "NumPy");
    EXPECT_EQ(text(set.train), "abcd");
    EXPECT_EQ(text(set.test), "ef");
    EXPECT_EQ(set.train.labels, (std::vector<uint8_t>{3, 255}));
    EXPECT_EQ(set.test.labels, (std::vector<uint8_t>{1}));
    EXPECT_EQ(set.train.height, 1);
    EXPECT_EQ(set.train.width, 2);
  }
}

TEST_F(OpenImagesTest, ChannelsAreFoundWhereverTheyAre) {
  const auto shape = [&](const std::string& text) {
    put("a.npy", npy_file("|u1", text, std::string("abcdefghijklmnopqrstuvwx")));
    const ImageSet set = open("a.npy");
    EXPECT_EQ(set.train.count + set.test.count, 2);
    return image_size_text(set.train);
  };
  EXPECT_EQ(shape("(2, 2, 2, 3)"), "2 x 2, 3 channels");
  EXPECT_EQ(shape("(2, 3, 2, 2)"), "2 x 2, 3 channels");
  EXPECT_EQ(shape("(2, 4, 3, 1)"), "4 x 3");
  EXPECT_EQ(shape("(2, 1, 6, 2)"), "6 x 2");
  EXPECT_EQ(shape("(2, 6, 2)"), "6 x 2");
  EXPECT_EQ(shape("(2, 3, 1, 4)"), "3 x 1, 4 channels") << "both fit: the last is taken";
}

TEST_F(OpenImagesTest, ChannelsThatComeFirstAreMoved) {
  put("x_train.npy", npy_file("|u1", "(1, 3, 1, 2)", "rRgGbB"));
  put("x_test.npy", npy_file("|u1", "(1, 1, 2, 3)", "rgbRGB"));
  const ImageSet set = open();
  EXPECT_EQ(text(set.train), "rgbRGB");
  EXPECT_EQ(text(set.test), "rgbRGB");
}

TEST_F(OpenImagesTest, RealNumbersFromZeroToOneBecomeBytes) {
  put("x.npy", npy_file("<f4", "(2, 1, 3)", reals({0, 0.25f, 0.5f, 1, 0.999f, 1.0f / 255})));
  const ImageSet set = open("x.npy");
  std::string all = text(set.train) + text(set.test);
  std::sort(all.begin(), all.end(), [](char a, char b) { return uint8_t(a) < uint8_t(b); });
  EXPECT_EQ(all, std::string("\0\1\x40\x80\xff\xff", 6));
  for (const auto& [value, shown] : {std::pair{255.0f, "255"}, {-0.1f, "-0.1"}, {NAN, "nan"}}) {
    put("x.npy", npy_file("<f4", "(2, 1, 1)", reals({0, value})));
    EXPECT_EQ(refusal("x.npy"), "4: " + (dir / "x.npy") + ": element 1 is " + shown +
                                    ", expected real numbers from 0 to 1; divide by the largest, "
                                    "or save '|u1'");
  }
}

TEST_F(OpenImagesTest, MasksOfZeroAndOneBecomeBlackAndWhite) {
  put("sprites.npz",
      zip_file({{"imgs.npy", npy_file("|u1", "(2, 1, 2)", std::string("\0\1\1\1", 4))}}));
  const ImageSet set = open();
  EXPECT_EQ(set.train.pixels()[1], 255);
  EXPECT_NE(said.find("no value is above 1: taken for black and white"), std::string::npos);
}

TEST_F(OpenImagesTest, ArraysThatAreNoImagesAreRefusedInOneLine) {
  const std::string path = dir / "x.npy";
  put("x.npy", npy_file("|u1", "(2, 6)", "abcdefabcdef"));
  EXPECT_EQ(refusal("x.npy"), "4: " + path +
                                  ": shape [2, 6], expected [N, H, W], or [N, H, W, C] or "
                                  "[N, C, H, W] with 1, 3 or 4 channels; reshape it");
  put("x.npy", npy_file("<i8", "(2, 1, 1)", std::string(16, '\0')));
  EXPECT_EQ(refusal("x.npy"), "4: " + path +
                                  ": has elements of type \"<i8\", expected '|u1', or real numbers "
                                  "from 0 to 1; save array.astype('uint8')");
  put("x.npy", npy_file("|u1", "(0, 4, 4)", ""));
  EXPECT_EQ(refusal("x.npy"),
            "4: " + path + ": shape [0, 4, 4] holds no pixels; save an array of images");
  put("x.npy", npy_file("|u1", "(1, 1, 1)", "a"));
  EXPECT_EQ(refusal("x.npy"), "4: " + path +
                                  ": 1 images, of which some are to be held out for testing; "
                                  "expected at least 2");
  put("y.npy", npy_file("|u1", "(1, 1, 1)", "a"));
  put("z.npz", zip_file({{"weights.npy", npy_file("|u1", "(1,)", "a")}}));
  remove_tree(fs, path);
  EXPECT_EQ(refusal("z.npz"), "4: " + (dir / "z.npz") +
                                  ": holds the arrays \"weights\", expected images as x_train, "
                                  "train_images, train, images, x, data, imgs or arr_0; save them "
                                  "under such a name");
  put("l.npz", zip_file({{"images.npy", npy_file("|u1", "(2, 1, 1)", "ab")},
                         {"labels.npy", npy_file("<i4", "(3,)", std::string(12, '\0'))}}));
  EXPECT_EQ(refusal("l.npz"), "4: " + (dir / "l.npz") +
                                  ": labels: shape [3] of \"<i4\", expected [2] whole numbers, one "
                                  "label per image; save them so, or leave them out");
  put("l.npz", zip_file({{"images.npy", npy_file("|u1", "(2, 1, 1)", "ab")},
                         {"labels.npy", npy_file("<i2", "(2,)", std::string("\0\0\0\1", 4))}}));
  EXPECT_EQ(refusal("l.npz"), "4: " + (dir / "l.npz") +
                                  ": labels: label 1 is 256, expected 0 to 255; number the classes "
                                  "from 0");
}

TEST_F(OpenImagesTest, SplitsMayBeFilesOfTheirOwn) {
  const auto one = [](const std::string& pixels) {
    return zip_file({{"data.npy", npy_file("|u1", "(2, 1, 1)", pixels)}});
  };
  put("train_data.npz", one("ab"));
  put("eval_data.npz", one("cd"));
  const ImageSet set = open();
  EXPECT_EQ(text(set.train), "ab");
  EXPECT_EQ(text(set.test), "cd");
}

TEST_F(OpenImagesTest, SplitsOfOtherSizesDoNotBelongTogether) {
  put("x_train.npy", npy_file("|u1", "(1, 1, 2)", "ab"));
  put("x_test.npy", npy_file("|u1", "(1, 2, 1)", "ab"));
  EXPECT_EQ(refusal(), "4: " + (dir / "x_test.npy") + ": images are 2 x 1, expected 1 x 2 as in " +
                           (dir / "x_train.npy") + "; take both files from one source");
}

TEST_F(OpenImagesTest, WithoutTestImagesSomeAreHeldOutAlwaysTheSame) {
  std::string pixels;
  for (int i = 0; i < 100; ++i) pixels += static_cast<char>(i + 2);
  put("x.npy", npy_file("|u1", "(100, 1, 1)", pixels));
  const ImageSet set = open("x.npy");
  EXPECT_EQ(set.train.count, 90);
  EXPECT_EQ(set.test.count, 10);
  EXPECT_NE(said.find("no test images, so 10 of 100 are held out"), std::string::npos);
  EXPECT_EQ(text(open("x.npy").test), text(set.test));
  std::string all = text(set.train) + text(set.test);
  EXPECT_FALSE(std::is_sorted(all.begin(), all.end()));
  std::sort(all.begin(), all.end());
  EXPECT_EQ(all, pixels);
  ImageSetOptions most;
  most.test_fraction = 0.999;
  EXPECT_EQ(open("x.npy", most).train.count, 1);
}

TEST_F(OpenImagesTest, PicturesAreTheLastResort) {
  for (int i = 0; i < 8; ++i)
    put("set/" + std::to_string(i % 2) + "/" + std::to_string(i) + ".bmp",
        bmp_file(sample_picture(4, 6, 3, i)));
  const ImageSet set = open("set");
  EXPECT_EQ(set.format, "image files");
  EXPECT_EQ(set.train.count, 7);
  EXPECT_EQ(set.test.count, 1);
  EXPECT_EQ(set.class_names, (std::vector<std::string>{"0", "1"}));
  EXPECT_NE(said.find("no test images, so 1 of 8 are held out"), std::string::npos);
}

TEST_F(OpenImagesTest, WhatIsUnknownSaysWhatWasLookedFor) {
  put("set/readme.txt", "nothing");
  const std::string looked =
      ": holds no images; looked for IDX (train-images-idx3-ubyte, also .gz), CIFAR "
      "(data_batch_1.bin, train.bin), NumPy (.npz, .npy) and, in all folders, .png .jpg .jpeg "
      ".bmp .pgm .ppm; name the directory that holds them with --data";
  EXPECT_EQ(refusal("set"), "4: " + (dir / "set") + looked);
  EXPECT_EQ(refusal("set/readme.txt"), "4: " + (dir / "set/readme.txt") + looked);
  EXPECT_EQ(refusal("none"),
            "4: " + (dir / "none") + ": there is no such file or directory; check --data");
  put("f.npz", "no archive");
  EXPECT_EQ(refusal("f.npz"), "4: " + (dir / "f.npz") +
                                  ": has no zip directory at its end; save it again with "
                                  "numpy.savez");
}

}  // namespace
}  // namespace elbo
