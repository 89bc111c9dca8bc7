#include "engine/io/cifar.h"

#include <gtest/gtest.h>

#include "tests/support/error_of.h"
#include "tests/support/temp_dir.h"

namespace elbo {
namespace {

class CifarTest : public testing::Test {
 protected:
  // Record i of a file: labels, then red, green, blue planes that tell place and colour.
  static char pixel(int record, int colour, int place) {
    return static_cast<char>(record * 71 + colour * 50 + place % 47);
  }
  static std::string records(int count, const std::string& coarse, int first_label) {
    std::string file;
    for (int record = 0; record < count; ++record) {
      file += coarse + static_cast<char>(first_label + record);
      for (int colour = 0; colour < 3; ++colour)
        for (int place = 0; place < 1024; ++place) file += pixel(record, colour, place);
    }
    return file;
  }
  void put(const std::string& name, const std::string& file) {
    make_directories(fs, parent_path(dir / name));
    write_file(fs, dir / name, file);
  }
  void put_ten(const std::string& folder = "") {
    for (int i = 1; i <= 5; ++i)
      put(folder + "data_batch_" + std::to_string(i) + ".bin", records(2, "", i));
    put(folder + "test_batch.bin", records(3, "", 7));
  }
  std::string refusal() {
    return error_of([&] { load_cifar_set(fs, dir.path()); });
  }

  Fs& fs = real_fs();
  TempDir dir;
};

TEST_F(CifarTest, ReadsTheFilesInOrderWithChannelsLast) {
  EXPECT_FALSE(has_cifar_set(fs, dir.path()));
  put_ten();
  put("batches.meta.txt", "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n");
  EXPECT_TRUE(has_cifar_set(fs, dir.path()));
  const ImageSet set = load_cifar_set(fs, dir.path());
  EXPECT_EQ(set.format, "CIFAR-10");
  EXPECT_EQ(set.class_names.size(), 10u);
  EXPECT_EQ(set.train.count, 10);
  EXPECT_EQ(set.test.count, 3);
  EXPECT_EQ(set.train.labels, (std::vector<uint8_t>{1, 2, 2, 3, 3, 4, 4, 5, 5, 6}));
  EXPECT_EQ(set.test.labels, (std::vector<uint8_t>{7, 8, 9}));
  EXPECT_EQ(set.train.channels, 3);
  EXPECT_EQ(set.train.height, 32);
  EXPECT_EQ(set.train.width, 32);
  ASSERT_EQ(set.train.pixels().size(), 10u * 3072u);
  for (int image = 0; image < 10; ++image) {
    for (int place = 0; place < 1024; ++place) {
      for (int colour = 0; colour < 3; ++colour) {
        ASSERT_EQ(set.train.pixels()[static_cast<size_t>((image * 1024 + place) * 3 + colour)],
                  static_cast<uint8_t>(pixel(image % 2, colour, place)));
      }
    }
  }
}

TEST_F(CifarTest, KeepsTheFineLabelOfAHundred) {
  put("train.bin", records(3, "\x05", 97));
  put("test.bin", records(1, "\x05", 0));
  const ImageSet set = load_cifar_set(fs, dir.path());
  EXPECT_EQ(set.format, "CIFAR-100");
  EXPECT_EQ(set.train.labels, (std::vector<uint8_t>{97, 98, 99}));
  EXPECT_EQ(set.train.pixels()[1], static_cast<uint8_t>(pixel(0, 1, 0)));
  EXPECT_TRUE(set.class_names.empty());
}

TEST_F(CifarTest, FindsTheFolderThatTheArchiveUnpacksTo) {
  put_ten("cifar-10-batches-bin/");
  EXPECT_TRUE(has_cifar_set(fs, dir.path()));
  EXPECT_EQ(load_cifar_set(fs, dir.path()).train.count, 10);
}

TEST_F(CifarTest, NamesThatDoNotFitAreIgnored) {
  put_ten();
  put("batches.meta.txt", "cat\ndog\n");
  EXPECT_TRUE(load_cifar_set(fs, dir.path()).class_names.empty());
}

TEST_F(CifarTest, RefusesEachKnownDefectInOneLine) {
  EXPECT_EQ(refusal(), "4: " + dir.path() +
                           ": holds neither data_batch_1.bin nor train.bin; name the folder that "
                           "the CIFAR archive unpacked to");
  put_ten();
  remove_tree(fs, dir / "data_batch_4.bin");
  EXPECT_EQ(refusal(), "4: " + (dir / "data_batch_4.bin") +
                           " is missing, expected with data_batch_1.bin of CIFAR-10; unpack the "
                           "archive again");
  put("data_batch_4.bin", records(1, "", 10));
  EXPECT_EQ(refusal(), "4: " + (dir / "data_batch_4.bin") +
                           ": record 0 has label 10, expected at most 9 (CIFAR-10); download it "
                           "again");
  for (const size_t size : {0, 1, 3072, 3074, 6145}) {
    put("data_batch_4.bin", std::string(size, '\1'));
    EXPECT_EQ(refusal(),
              "4: " + (dir / "data_batch_4.bin") + ": " + std::to_string(size) +
                  " bytes, expected whole records of 3073 (CIFAR-10); download it again");
  }
}

}  // namespace
}  // namespace elbo
