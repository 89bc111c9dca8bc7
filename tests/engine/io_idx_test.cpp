#include "engine/io/idx.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include "tests/support/error_of.h"
#include "tests/support/malformed.h"
#include "tests/support/temp_dir.h"

namespace elbo {
namespace {

std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::string idx(const std::vector<uint32_t>& shape, const std::string& elements) {
  std::string file = {0, 0, 8, static_cast<char>(shape.size())};
  for (const uint32_t extent : shape) file += big_endian(extent);
  return file + elements;
}

std::string gzip(const std::string& plain) {
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string packed(deflateBound(&stream, plain.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(plain.data()));
  stream.avail_in = static_cast<uInt>(plain.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

std::vector<std::byte> gunzipped(const std::string& file, const IdxLimits& limits = {}) {
  const auto bytes = as_bytes(file);
  return gunzip_idx({bytes.begin(), bytes.end()}, "f.gz", limits);
}

std::string refusal(const std::string& file) {
  return error_of([&] { parse_idx(as_bytes(file), "f"); });
}
std::string gzip_refusal(const std::string& file, const IdxLimits& limits = {}) {
  return error_of([&] { gunzipped(file, limits); });
}

TEST(Idx, ReadsOneToFourDimensions) {
  const std::string file = idx({2, 1, 3}, "abcdef");
  const IdxView view = parse_idx(as_bytes(file), "f");
  EXPECT_EQ(view.shape, (std::vector<int64_t>{2, 1, 3}));
  EXPECT_EQ(std::to_integer<char>(view.elements[5]), 'f');
  EXPECT_EQ(parse_idx(as_bytes(idx({3}, "abc")), "f").shape.size(), 1u);
  EXPECT_EQ(parse_idx(as_bytes(idx({1, 2, 1, 1}, "ab")), "f").shape.size(), 4u);
  EXPECT_TRUE(parse_idx(as_bytes(idx({0, 28, 28}, "")), "f").elements.empty());
}

TEST(Idx, RefusesEachKnownDefectInOneLine) {
  EXPECT_EQ(refusal(""), "4: f: 0 bytes, expected at least 4 of IDX header; download it again");
  EXPECT_EQ(refusal(std::string("\0\0\x8\x3\0\0", 6)),
            "4: f: 6 bytes, expected at least 16 of IDX header; download it again");
  EXPECT_EQ(refusal("<!DOCTYPE html>"),
            "4: f: starts with 0x3c21444f, expected 0x00000801 to 0x00000804 (IDX of unsigned "
            "bytes); download it again");
  EXPECT_EQ(refusal(std::string("\0\0\x0d\x1\0\0\0\0", 8)).substr(0, 30),
            "4: f: starts with 0x00000d01, ");
  EXPECT_EQ(refusal(idx({2, 2, 2}, "1234567")),
            "4: f: 7 bytes after the header, expected 8 for shape [2, 2, 2]; download it again");
  EXPECT_EQ(refusal(idx({2}, "123")),
            "4: f: 3 bytes after the header, expected 2 for shape [2]; download it again");
  EXPECT_EQ(refusal(idx({65536, 65536, 65536, 65536}, "")),
            "4: f: has a shape whose size exceeds 64 bits; download it again");
  EXPECT_EQ(refusal(idx({65536, 65536, 65536}, "")),
            "4: f: declares 281474976710656 bytes for shape [65536, 65536, 65536], expected at "
            "most 8589934592; download it again");
}

TEST(Idx, UnpacksGzipToExactlyTheDeclaredSize) {
  const std::string plain = idx({3, 10, 10}, std::string(300, 'p'));
  const auto unpacked = gunzipped(gzip(plain));
  EXPECT_TRUE(
      std::equal(unpacked.begin(), unpacked.end(), as_bytes(plain).begin(), as_bytes(plain).end()));
  EXPECT_EQ(gunzipped(gzip(idx({1}, "a"))).size(), 9u);  // shorter than the longest header
  EXPECT_EQ(gunzipped(plain).size(), plain.size());      // not gzip: passed through
}

TEST(Idx, RefusesDamagedGzip) {
  const std::string packed = gzip(idx({4, 8, 8}, std::string(256, 'p')));
  EXPECT_EQ(gzip_refusal(packed.substr(0, packed.size() - 1)),
            "4: f.gz: the gzip stream ends too early; download it again");
  EXPECT_EQ(gzip_refusal(packed.substr(0, 20)),
            "4: f.gz: the gzip stream ends too early; download it again");
  EXPECT_EQ(gzip_refusal(packed + "x"),
            "4: f.gz: 1 bytes after the end of the gzip stream; download it again");
  std::string flipped = packed;
  flipped[packed.size() - 8] = static_cast<char>(~flipped[packed.size() - 8]);  // stored CRC-32
  EXPECT_EQ(gzip_refusal(flipped),
            "4: f.gz: the gzip stream is damaged (incorrect data check); download it again");
  EXPECT_EQ(gzip_refusal(gzip(idx({4, 8, 8}, std::string(255, 'p')))),
            "4: f.gz: holds 271 bytes, expected 272; download it again");
  EXPECT_EQ(gzip_refusal(gzip(idx({4, 8, 8}, std::string(257, 'p')))),
            "4: f.gz: holds more than 272 bytes; download it again");
  EXPECT_EQ(gzip_refusal(gzip(idx({1}, "too long for one"))),
            "4: f.gz: holds more than 9 bytes; download it again");
}

TEST(Idx, AZipBombIsRefusedBeforeAllocation) {
  const std::string bomb = gzip(idx({8, 32768, 32768}, std::string(1000, '\0')));  // claims 8 GiB
  EXPECT_EQ(gzip_refusal(bomb), "4: f.gz: declares 8589934608 bytes, which " +
                                    std::to_string(bomb.size()) +
                                    " compressed bytes cannot hold; download it again");
  IdxLimits limits;
  limits.element_bytes = 100;
  EXPECT_EQ(gzip_refusal(gzip(idx({101}, std::string(101, 'x'))), limits),
            "4: f.gz: declares 101 bytes for shape [101], expected at most 100; download it again");
}

class IdxSetTest : public testing::Test {
 protected:
  void put(const std::string& name, const std::string& file) { write_file(fs, dir / name, file); }
  void put_images() {
    put("train-images-idx3-ubyte", idx({2, 2, 3}, "abcdefghijkl"));
    put("t10k-images.idx3-ubyte.gz", gzip(idx({1, 2, 3}, "mnopqr")));
  }
  std::string refusal() {
    return error_of([&] { load_idx_set(fs, dir.path()); });
  }

  Fs& fs = real_fs();
  TempDir dir;
};

TEST_F(IdxSetTest, FindsEverySpelling) {
  put_images();
  put("train-labels.idx1-ubyte", idx({2}, "\1\2"));
  put("t10k-labels-idx1-ubyte.gz", gzip(idx({1}, "\3")));
  const ImageSet set = load_idx_set(fs, dir.path());
  EXPECT_EQ(set.train.count, 2);
  EXPECT_EQ(set.train.channels, 1);
  EXPECT_EQ(set.train.height, 2);
  EXPECT_EQ(set.train.width, 3);
  EXPECT_EQ(set.train.pixels()[11], 'l');
  EXPECT_EQ(set.train.labels, (std::vector<uint8_t>{1, 2}));
  EXPECT_EQ(set.test.pixels().size(), 6u);
  EXPECT_EQ(set.test.pixels()[0], 'm');
  EXPECT_EQ(set.test.labels, (std::vector<uint8_t>{3}));
  EXPECT_TRUE(has_idx_set(fs, dir.path()));
}

TEST_F(IdxSetTest, LabelsMayBeMissing) {
  put_images();
  EXPECT_TRUE(load_idx_set(fs, dir.path()).train.labels.empty());
}

TEST_F(IdxSetTest, ColourImagesAreReadWithTheirChannelsLast) {
  put("train-images-idx3-ubyte", idx({2, 3, 1, 2}, "rRgGbBsShHcC"));
  put("t10k-images-idx3-ubyte", idx({1, 3, 1, 2}, "rRgGbB"));
  const ImageSet set = load_idx_set(fs, dir.path());
  EXPECT_EQ(set.test.channels, 3);
  EXPECT_EQ(std::string(set.test.pixels().begin(), set.test.pixels().end()), "rgbRGB");
  EXPECT_EQ(std::string(set.train.pixels().begin(), set.train.pixels().end()), "rgbRGBshcSHC");
}

TEST_F(IdxSetTest, MissingImagesAreListed) {
  EXPECT_FALSE(has_idx_set(fs, dir.path()));
  EXPECT_EQ(refusal(), "4: " + dir.path() +
                           ": no train images; looked for train-images-idx3-ubyte, "
                           "train-images-idx3-ubyte.gz, train-images.idx3-ubyte, "
                           "train-images.idx3-ubyte.gz; pass the directory that holds them with "
                           "--data");
}

TEST_F(IdxSetTest, FilesThatDoNotBelongTogetherAreRefused) {
  put_images();
  put("train-labels-idx1-ubyte", idx({3}, "abc"));
  EXPECT_EQ(refusal(), "4: " + (dir / "train-labels-idx1-ubyte") +
                           ": shape [3], expected [2] to match " +
                           (dir / "train-images-idx3-ubyte") + "; take both files from one source");
  remove_tree(fs, dir / "train-labels-idx1-ubyte");
  put("t10k-images-idx3-ubyte", idx({1, 3, 3}, "abcdefghi"));
  EXPECT_EQ(refusal(), "4: " + (dir / "t10k-images-idx3-ubyte") +
                           ": images are 3 x 3, expected 2 x 3 as in " +
                           (dir / "train-images-idx3-ubyte") + "; take both files from one source");
  put("train-images-idx3-ubyte", idx({4}, "abcd"));
  EXPECT_EQ(refusal(), "4: " + (dir / "train-images-idx3-ubyte") +
                           ": shape [4], expected images [N, H, W] or [N, C, H, W]; check that it "
                           "is the image file");
  put("train-images-idx3-ubyte", idx({0, 2, 3}, ""));
  EXPECT_EQ(refusal(), "4: " + (dir / "train-images-idx3-ubyte") +
                           ": shape [0, 2, 3] holds no pixels; download it again");
}

// Exhaustive damage: each file is read within its bounds or refused with ErrorCode::data.
class IdxMalformed : public testing::Test {
 protected:
  void examine(const std::string& file) {
    ++files;
    try {
      const auto plain = gunzipped(file);
      const IdxView view = parse_idx(plain, "f.gz");
      ++accepted;
      uint64_t product = 1;
      for (const int64_t extent : view.shape) product *= static_cast<uint64_t>(extent);
      EXPECT_EQ(view.elements.size(), product);
      for (const std::byte b : view.elements) sum += std::to_integer<uint64_t>(b);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::data);
      EXPECT_TRUE(std::string(error.what()).starts_with("f.gz: ")) << error.what();
    }
  }

  int64_t files = 0, accepted = 0;
  uint64_t sum = 0;
};

TEST_F(IdxMalformed, EveryBoundaryShapeIsRefusedOrExact) {
  for (const uint32_t a : kBoundaries32) {
    for (const uint32_t b : kBoundaries32) {
      for (const uint32_t c : kBoundaries32) {
        examine(idx({a, b, c}, "12345678"));
        for (const uint32_t d : kBoundaries32) examine(idx({a, b, c, d}, "12345678"));
      }
    }
  }
  EXPECT_GE(files, 22'000);
  EXPECT_EQ(accepted, 5);  // 2 x 2 x 2, and the four ways to put a 1 beside it
}

TEST_F(IdxMalformed, EveryDamagedByteIsRefusedOrHarmless) {
  std::string elements;
  for (int i = 0; i < 96; ++i) elements += static_cast<char>(i * i);
  const std::string plain = idx({4, 2, 3, 4}, elements);
  const std::string packed = gzip(plain);
  const auto visit = [&](const std::string& file) { examine(file); };
  for (const std::string& file : {plain, packed}) {
    for_each_truncation(file, visit);
    for_each_changed_byte(file, visit);
  }
  for (size_t i = 0; i < packed.size(); ++i) {
    for (int value = 0; value < 256; ++value) {
      std::string changed = packed;
      changed[i] = static_cast<char>(value);
      examine(changed);
    }
  }
  for_each_changed_byte(plain, [&](const std::string& file) { examine(gzip(file)); });
  std::printf("%ld files, %ld accepted\n", files, accepted);
  EXPECT_GE(files, 10'000);
  EXPECT_GT(accepted, 500);
}

}  // namespace
}  // namespace elbo
