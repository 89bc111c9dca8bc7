#include "engine/io/npy_write.h"

#include <gtest/gtest.h>

#include <cstring>

#include "engine/io/npy.h"
#include "tests/support/temp_dir.h"

namespace elbo {
namespace {

constexpr uint64_t kPlenty = 1 << 20;

TEST(NpyWrite, ReadsBackWithTypeShapeAndBits) {
  const TempDir directory;
  const std::string path = directory / "a.npy";
  const std::vector<float> values = {1.5f, -0.0f, 3e-42f, 1e30f, 0.1f, 7};
  write_npy(real_fs(), path, values, {2, 3});
  const std::vector<std::byte> file = read_file(real_fs(), path, kPlenty);
  const NpyView view = parse_npy(file, path);
  EXPECT_EQ(view.type, "<f4");
  EXPECT_EQ(view.shape, (std::vector<int64_t>{2, 3}));
  ASSERT_EQ(view.elements.size(), values.size() * sizeof(float));
  EXPECT_EQ(std::memcmp(view.elements.data(), values.data(), view.elements.size()), 0);
  EXPECT_EQ((view.elements.data() - file.data()) % 64, 0);
}

TEST(NpyWrite, WholeNumbersReadBack) {
  const TempDir directory;
  const std::string path = directory / "i.npy";
  const std::vector<int32_t> values = {0, -1, 1 << 20, INT32_MAX};
  write_npy(real_fs(), path, values, {2, 2});
  const std::vector<std::byte> file = read_file(real_fs(), path, kPlenty);
  const NpyView view = parse_npy(file, path);
  EXPECT_EQ(view.type, "<i4");
  EXPECT_EQ(view.shape, (std::vector<int64_t>{2, 2}));
  for (int64_t i = 0; i < 4; ++i) EXPECT_EQ(view.integer(i), values[static_cast<size_t>(i)]);
}

// Byte for byte what numpy.save(file, numpy.array([1, 2, 250], dtype=numpy.uint8)) writes.
TEST(NpyWrite, WritesWhatNumPyWrites) {
  const TempDir directory;
  const std::string path = directory / "b.npy";
  const std::vector<uint8_t> values = {1, 2, 250};
  write_npy(real_fs(), path, values, {3});
  std::string expected("\x93NUMPY\x01\x00\x76\x00", 10);
  expected += "{'descr': '|u1', 'fortran_order': False, 'shape': (3,), }";
  expected.resize(127, ' ');
  expected += "\n\x01\x02\xfa";
  EXPECT_EQ(read_text_file(real_fs(), path, kPlenty), expected);
}

TEST(NpyWrite, TakesAnyRankAndNoElements) {
  const TempDir directory;
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{0, 4}, {1, 1, 1, 2, 0}}) {
    const std::string path = directory / "c.npy";
    write_npy(real_fs(), path, std::span<const float>{}, shape);
    EXPECT_EQ(parse_npy(read_file(real_fs(), path, kPlenty), path).shape, shape);
  }
}

TEST(NpyWrite, RefusesAShapeThatDoesNotFit) {
  const TempDir directory;
  const std::vector<float> values(3);
  EXPECT_THROW(write_npy(real_fs(), directory / "d.npy", values, {2, 2}), Error);
  EXPECT_FALSE(exists(real_fs(), directory / "d.npy"));
}

}  // namespace
}  // namespace elbo
