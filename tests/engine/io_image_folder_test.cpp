#include "engine/io/image_folder.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "engine/io/hold_out.h"
#include "engine/io/image_cache.h"
#include "kernels/parallel.h"
#include "tests/support/error_of.h"
#include "tests/support/picture_samples.h"
#include "tests/support/temp_dir.h"

namespace elbo {
namespace {

void use_threads([[maybe_unused]] int threads) {
#ifdef _OPENMP
  omp_set_num_threads(threads);
#endif
}

class ImageFolderTest : public testing::Test {
 protected:
  void put(const std::string& name, const std::string& file) {
    std::filesystem::create_directories(parent_path(dir / name));
    write(dir / name, file);
  }
  // Without a sync, of which thousands take long.
  static void write(const std::string& path, const std::string& file) {
    std::ofstream(path, std::ios::binary) << file;
  }
  void put_grey(const std::string& name, uint8_t value, int side = 4) {
    const auto pixels = static_cast<size_t>(side * side);
    put(name, png_file({side, side, 1, std::vector<uint8_t>(pixels, value)}));
  }
  std::vector<std::string> names() {
    std::vector<std::string> names;
    for (const FolderFile& file : scan_image_folder(fs, root()).files) names.push_back(file.name);
    return names;
  }
  ImageSet load(const ImageFolderOptions& options = {}) {
    said.clear();
    return load_image_folder(fs, scan_image_folder(fs, root()), options, {}, log);
  }
  std::string root() const { return dir / "set"; }
  std::vector<int> firsts(const ImageSplit& split) {
    std::vector<int> values;
    for (int64_t i = 0; i < split.count; ++i)
      values.push_back(split.pixels()[static_cast<size_t>(i * split.image_bytes())]);
    return values;
  }

  Fs& fs = real_fs();
  TempDir dir;
  std::string said;
  Log log{false, Terminal{}, [this](std::string_view text) { said += text; }};
};

using Names = std::vector<std::string>;
using Values = std::vector<int>;

TEST_F(ImageFolderTest, FoldersAreClassesInTheOrderOfTheirNames) {
  put_grey("set/dog/1.png", 10);
  put_grey("set/cat/2.png", 20);
  put_grey("set/cat/deep/er/1.png", 30);
  put_grey("set/ant/x.pgm", 0);
  put("set/ant/x.pgm", pnm_file({4, 4, 1, std::vector<uint8_t>(16, 40)}));
  put("set/ant/notes.txt", "no picture");
  put_grey("set/.hidden/1.png", 1);
  put_grey("set/cat/.1.png", 1);
  EXPECT_EQ(names(), (Names{"ant/x.pgm", "cat/2.png", "cat/deep/er/1.png", "dog/1.png"}));
  const ImageSet set = load();
  EXPECT_EQ(set.class_names, (Names{"ant", "cat", "dog"}));
  EXPECT_EQ(set.train.labels, (std::vector<uint8_t>{0, 1, 1, 2}));
  EXPECT_EQ(firsts(set.train), (Values{40, 20, 30, 10}));
  EXPECT_EQ(set.test.count, 0);
}

TEST_F(ImageFolderTest, SplitsAreHonoured) {
  put_grey("set/train/b/1.png", 1);
  put_grey("set/train/a/1.png", 2);
  put_grey("set/val/b/1.png", 3);
  put_grey("set/elsewhere/1.png", 4);
  ImageSet set = load();
  EXPECT_EQ(firsts(set.train), (Values{2, 1}));
  EXPECT_EQ(firsts(set.test), (Values{3}));
  EXPECT_EQ(set.test.labels, (std::vector<uint8_t>{1}));
  put_grey("set/test/a/1.png", 5);
  EXPECT_EQ(firsts(load().test), (Values{5})) << "test goes before val";
  put_grey("set/test/c/1.png", 6);
  EXPECT_EQ(error_of([&] { load(); }), "4: " + root() +
                                           "/test/c/1.png: its folder c is no class of train/; "
                                           "give both splits the same folders");
}

TEST_F(ImageFolderTest, OneFolderOrNoneMeansNoLabels) {
  put_grey("set/all/1.png", 1);
  put_grey("set/all/2.png", 2);
  EXPECT_TRUE(load().train.labels.empty());
  EXPECT_EQ(said.find("labels"), std::string::npos);
  put_grey("set/3.png", 3);
  EXPECT_TRUE(load().train.labels.empty());
  EXPECT_NE(said.find("labels are not used: some images lie beside the folders"),
            std::string::npos);
}

TEST_F(ImageFolderTest, MoreClassesThanLabelsHaveNoLabels) {
  const std::string file = png_file(sample_picture(2, 2, 1));
  for (int i = 0; i < 257; ++i) put("set/" + std::to_string(1000 + i) + "/1.png", file);
  EXPECT_TRUE(load().train.labels.empty());
  EXPECT_NE(said.find("257 classes, at most 256 can be told apart"), std::string::npos);
  remove_tree(fs, root() + "/1256");
  EXPECT_EQ(load().train.labels.back(), 255);
}

TEST_F(ImageFolderTest, LinksAreFollowedAndLoopsEnd) {
  put_grey("set/a/1.png", 1);
  put_grey("outside/2.png", 2);
  ASSERT_EQ(symlink("..", (root() + "/a/up").c_str()), 0);
  ASSERT_EQ(symlink(".", (root() + "/a/self").c_str()), 0);
  ASSERT_EQ(symlink("../outside", (root() + "/b").c_str()), 0);
  ASSERT_EQ(symlink("nowhere", (root() + "/c").c_str()), 0);
  ASSERT_EQ(symlink("a/1.png", (root() + "/linked.png").c_str()), 0);
  ASSERT_EQ(mkfifo((root() + "/pipe.png").c_str(), 0600), 0);
  EXPECT_EQ(names(), (Names{"a/1.png", "b/2.png", "linked.png"}));
}

TEST_F(ImageFolderTest, TheMostFrequentSizeAndColourAreTaken) {
  put("set/1.png", png_file(sample_picture(6, 8, 3)));
  put("set/2.png", png_file(sample_picture(6, 8, 1)));
  put("set/3.jpg", jpeg_file(sample_picture(12, 12, 3)));
  const ImageSet set = load();
  EXPECT_EQ(image_size_text(set.train), "6 x 8, 3 channels");
  EXPECT_EQ(set.train.count, 3);
  EXPECT_NE(said.find("1 of 3 images are brought to 6 x 8"), std::string::npos) << said;
  ImageFolderOptions options;
  options.height = 3;
  options.width = 5;
  options.channels = 1;
  EXPECT_EQ(image_size_text(load(options).train), "3 x 5");
  options.channels = 2;
  EXPECT_EQ(error_of([&] { load(options); }).substr(0, 20), "2: data.channels is ");
}

TEST_F(ImageFolderTest, BrokenFilesAreNamedAndLeftOut) {
  for (int i = 0; i < 30; ++i) {
    const std::string name = "set/" + std::to_string(10 + i) + ".png";
    put_grey(name, static_cast<uint8_t>(i));
    if (i % 2 == 1) put(name, i % 4 == 1 ? "" : png_file(sample_picture(4, 4, 1)).substr(0, 40));
  }
  const ImageSet set = load();
  EXPECT_EQ(set.train.count, 15);
  EXPECT_EQ(firsts(set.train)[14], 28);
  EXPECT_NE(said.find("15 of 30 files cannot be read"), std::string::npos) << said;
  EXPECT_NE(said.find("11.png is empty"), std::string::npos) << said;
  EXPECT_NE(said.find("13.png ends too early"), std::string::npos) << said;
  EXPECT_NE(said.find("29.png"), std::string::npos) << "the tenth";
  EXPECT_EQ(said.find("31.png"), std::string::npos) << "the eleventh";
  EXPECT_NE(said.find("and 5 more"), std::string::npos) << said;
}

TEST_F(ImageFolderTest, ManyFilesOnManyThreadsAreReadAsOnOne) {
  constexpr int kFiles = 400, kEvery = 80;  // five of them are broken
  for (int i = 0; i < kFiles; ++i) {
    const std::string file = png_file(sample_picture(8, 8, 3, i));
    put("set/class_" + std::to_string(i % 4) + "/" + std::to_string(1000 + i) + ".png",
        i % kEvery == 7 ? file.substr(0, file.size() / 2) : file);
  }
  const int threads = cpu::thread_count();
  use_threads(1);
  const ImageSet one = load();
  use_threads(7);
  const ImageSet seven = load();
  use_threads(threads);
  EXPECT_EQ(one.train.count, 395);
  EXPECT_NE(said.find("5 of 400 files cannot be read"), std::string::npos) << said;
  EXPECT_EQ(one.train.file, seven.train.file);
  EXPECT_EQ(one.train.labels, seven.train.labels);
}

TEST_F(ImageFolderTest, LabelsStayWithTheirImagesWhereFilesAreBroken) {
  put("set/a/1.png", "broken");
  put_grey("set/a/2.png", 1);
  put_grey("set/b/1.png", 2);
  put("set/b/2.png", "broken");
  put_grey("set/c/1.png", 3);
  const ImageSet set = load();
  EXPECT_EQ(firsts(set.train), (Values{1, 2, 3}));
  EXPECT_EQ(set.train.labels, (std::vector<uint8_t>{0, 1, 2}));
}

TEST_F(ImageFolderTest, NothingToTrainOnIsAnError) {
  put("set/1.png", "broken");
  EXPECT_EQ(error_of([&] { load(); }),
            "4: " + root() + ": none of 1 image files can be read; see the warnings above");
  ImageFolderOptions options;
  options.height = options.width = options.channels = 1;
  EXPECT_EQ(error_of([&] { load(options); }).substr(0, 3), "4: ");
}

TEST_F(ImageFolderTest, HoldingOutIsTheSameEveryTimeAndMixes) {
  for (int i = 0; i < 40; ++i) put_grey("set/" + std::to_string(100 + i) + ".png", 0);
  FolderListing once = scan_image_folder(fs, root()), again = once;
  const FolderListing before = once;
  hold_out(once, 0.25);
  hold_out(again, 0.25);
  EXPECT_EQ(once.train_files, 30u);
  ASSERT_EQ(once.files.size(), 40u);
  std::vector<std::string> all;
  for (size_t i = 0; i < 40; ++i) {
    EXPECT_EQ(once.files[i].name, again.files[i].name);
    EXPECT_EQ(once.files[i].test, i >= 30);
    all.push_back(once.files[i].name);
  }
  EXPECT_FALSE(std::is_sorted(all.begin(), all.begin() + 30));
  std::sort(all.begin(), all.end());
  for (size_t i = 0; i < 40; ++i) EXPECT_EQ(all[i], before.files[i].name);
}

class ImageCacheTest : public ImageFolderTest {
 protected:
  ImageCacheTest() {
    options.cache_directory = dir / "cache";
    for (int i = 0; i < 6; ++i) put_grey("set/" + std::to_string(i) + ".png", uint8_t(10 * i));
    put("set/9.png", "broken");
  }
  bool from_cache() {
    const ImageSet set = load(options);
    EXPECT_NE(said.find("1 of "), std::string::npos)
        << "broken files are named each time: " << said;
    const bool cached = said.find("come from") != std::string::npos;
    EXPECT_NE(cached, said.find("image files of") != std::string::npos) << said;
    last = firsts(set.train);
    return cached;
  }
  std::string cache_path() { return ImageCache(fs, scan_image_folder(fs, root()), options).path(); }

  ImageFolderOptions options;
  Values last;
};

TEST_F(ImageCacheTest, TheSecondStartReadsNoPicture) {
  EXPECT_FALSE(from_cache());
  const Values first = last;
  EXPECT_EQ(first, (Values{0, 10, 20, 30, 40, 50}));
  EXPECT_TRUE(from_cache());
  EXPECT_EQ(last, first);
  const std::string list = read_text_file(fs, cache_path() + ".broken.txt", 1000);
  EXPECT_EQ(list, root() + "/9.png is no PNG, JPEG, BMP, binary PGM or PPM\n");
  EXPECT_NE(said.find("all are named in " + cache_path() + ".broken.txt"), std::string::npos);
}

TEST_F(ImageCacheTest, EveryChangeIsNoticed) {
  from_cache();
  put_grey("set/6.png", 60);  // added
  EXPECT_FALSE(from_cache());
  EXPECT_EQ(last.size(), 7u);
  EXPECT_TRUE(from_cache());
  remove_tree(fs, root() + "/6.png");  // removed
  EXPECT_FALSE(from_cache());
  EXPECT_EQ(last.size(), 6u);
  const std::string same_length = read_text_file(fs, root() + "/1.png", 1000);
  put("set/0.png", same_length);  // changed, here of equal size
  timespec times[2] = {{1, 0}, {1, 0}};
  ASSERT_EQ(utimensat(AT_FDCWD, (root() + "/0.png").c_str(), times, 0), 0);
  EXPECT_FALSE(from_cache());
  EXPECT_EQ(last[0], 10);
  rename_path(fs, root() + "/0.png", root() + "/00.png");  // renamed
  EXPECT_FALSE(from_cache());
  options.height = options.width = 2;  // asked for differently
  EXPECT_FALSE(from_cache());
  EXPECT_TRUE(from_cache());
}

TEST_F(ImageCacheTest, ADamagedCacheIsNeverBelieved) {
  from_cache();
  const std::string path = cache_path();
  const std::string good = read_text_file(fs, path, 1 << 20);
  const FolderListing listing = scan_image_folder(fs, root());
  ImageCache cache(fs, listing, options);
  std::string why;
  for (size_t length = 0; length < good.size(); ++length) {
    write(path, good.substr(0, length));
    ASSERT_FALSE(cache.load(why)) << length;
    ASSERT_NE(why, "");
  }
  for (size_t i = 0; i < good.size(); i += 3) {
    std::string changed = good;
    changed[i] = static_cast<char>(changed[i] ^ (1 << (i % 8)));
    write(path, changed);
    ASSERT_FALSE(cache.load(why)) << i;
  }
  write(path, good + "x");
  EXPECT_FALSE(cache.load(why));
  EXPECT_FALSE(from_cache());
  EXPECT_TRUE(from_cache());
}

TEST_F(ImageCacheTest, APlaceThatCannotBeWrittenCostsNoRun) {
  options.cache_directory = dir / "set/1.png/below";
  EXPECT_FALSE(from_cache());
  EXPECT_NE(said.find("warning: images are not kept for the next start"), std::string::npos)
      << said;
  EXPECT_EQ(last.size(), 6u);
}

}  // namespace
}  // namespace elbo
