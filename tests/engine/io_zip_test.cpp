#include "engine/io/zip.h"

#include <gtest/gtest.h>

#include "tests/support/error_of.h"
#include "tests/support/malformed.h"
#include "tests/support/numpy_samples.h"

namespace elbo {
namespace {

std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

// Everything that an archive holds.
std::vector<std::string> contents(const std::string& file) {
  const ZipArchive archive(as_bytes(file), "f");
  std::vector<std::string> all;
  for (const ZipMember& member : archive.members()) {
    const auto bytes = archive.read(member);
    all.emplace_back(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  return all;
}
std::string refusal(const std::string& file) {
  return error_of([&] { contents(file); });
}

const std::string kLong(5000, 'z');

std::string sample() { return zip_file({{"a", "stored"}, {"b/c", kLong, true}, {"empty", ""}}); }

std::string changed(std::string file, size_t at, const std::string& bytes) {
  return file.replace(at, bytes.size(), bytes);
}

TEST(Zip, ReadsStoredAndDeflatedMembers) {
  const std::string file = sample();
  EXPECT_EQ(contents(file), (std::vector<std::string>{"stored", kLong, ""}));
  const ZipArchive archive(as_bytes(file), "f");
  EXPECT_EQ(archive.find("b/c")->bytes, 5000u);
  EXPECT_EQ(archive.find("b"), nullptr);
  EXPECT_EQ(contents(zip_file({})), std::vector<std::string>{});
  EXPECT_EQ(contents(zip_file({{"a", "x"}}, "a comment PK\5\6")).size(), 1u);
}

TEST(Zip, RefusesEachKnownDefectInOneLine) {
  const std::string again = "; save it again with numpy.savez";
  EXPECT_EQ(refusal(""), "4: f: has no zip directory at its end" + again);
  EXPECT_EQ(refusal(zip_file({{"a", "x"}, {"a", "y"}})), "4: f: \"a\" is there twice" + again);
  const std::string one = zip_file({{"a", "x"}});  // 32 bytes, then an entry of 47, then the end
  const size_t entry = 32, end = 79;
  EXPECT_EQ(refusal(changed(one, entry + 8, "\1")), "4: f: \"a\" is encrypted" + again);
  EXPECT_EQ(refusal(changed(one, entry + 10, "\x0c")),
            "4: f: \"a\" is packed by method 12, expected 0 or 8" + again);
  EXPECT_EQ(refusal(changed(one, entry + 16, "zzzz")), "4: f: \"a\": has a wrong checksum" + again);
  EXPECT_EQ(refusal(changed(one, entry + 24, "\2")),
            "4: f: \"a\" is stored in 1 bytes, expected 2" + again);
  EXPECT_EQ(refusal(changed(one, entry + 20, "\xff\xff\xff\xff\xff\xff\xff\xff")),
            "4: f: \"a\" is a zip64 member, expected less than 4 GiB" + again);
  EXPECT_EQ(refusal(changed(changed(one, entry + 20, "\x22\0\0\0\x22"), entry + 20, "\x22")),
            "4: f: \"a\" is stored in 34 bytes, expected 1" + again);
  EXPECT_EQ(refusal(changed(one, entry + 42, "\x10")),
            "4: f: \"a\": has no header at byte 16" + again);
  EXPECT_EQ(refusal(changed(one, 30, "b")), "4: f: \"a\": is called \"b\" in its header" + again);
  EXPECT_EQ(refusal(changed(one, end + 16, "\x1f")),
            "4: f: has a directory of 47 bytes at byte 31, expected to end at 79" + again);
  EXPECT_EQ(refusal(changed(one, end + 4, "\1")),
            "4: f: is a zip archive of several disks" + again);
  std::string two = changed(changed(one, end + 8, "\2"), end + 10, "\2");
  EXPECT_EQ(refusal(two), "4: f: has a damaged directory at byte 79" + again);
}

TEST(Zip, ABombIsRefusedBeforeAllocation) {
  std::string file = zip_file({{"a", kLong, true}});
  const size_t entry = file.find("PK\1\2");
  file = changed(file, entry + 24, little_endian(0xfffffffe, 4));
  const ZipArchive archive(as_bytes(file), "f");
  const std::string packed = std::to_string(archive.members()[0].packed_bytes);
  EXPECT_EQ(refusal(file), "4: f: \"a\": declares 4294967294 bytes, which " + packed +
                               " compressed bytes cannot hold; download it again");
}

TEST(Zip, EveryDamageIsRefusedOrHarmless) {
  int files = 0, accepted = 0;
  const auto examine = [&](const std::string& file) {
    ++files;
    try {
      contents(file);
      ++accepted;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::data);
      EXPECT_TRUE(std::string(error.what()).starts_with("f: ")) << error.what();
    }
  };
  const std::string file = sample();
  for_each_truncation(file, examine);
  EXPECT_EQ(accepted, 0);
  for_each_changed_byte(file, examine);
  for (size_t at = 0; at + 4 <= file.size(); ++at) {
    for (const uint32_t value : kBoundaries32) examine(changed(file, at, little_endian(value, 4)));
  }
  EXPECT_GT(files, 4000);
}

}  // namespace
}  // namespace elbo
