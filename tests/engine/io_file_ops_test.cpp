#include "engine/io/file_ops.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>

#include "engine/io/crc32.h"
#include "tests/support/error_of.h"
#include "tests/support/fault_fs.h"
#include "tests/support/temp_dir.h"

namespace elbo {
namespace {

class FileOps : public testing::Test {
 protected:
  std::string text(const std::string& name) { return read_text_file(fs, dir / name, 1000); }

  Fs& fs = real_fs();
  TempDir dir;
};

TEST_F(FileOps, WritesAndReadsBack) {
  const WrittenFile written = write_file(fs, dir / "f", "hello");
  EXPECT_EQ(written.bytes, 5u);
  EXPECT_EQ(written.crc32, 0x3610a686u);  // CRC-32 of "hello", as the crc32 tool prints it
  EXPECT_EQ(text("f"), "hello");
  FileWriter(fs, dir / "f", OpenMode::append).write(" world");
  EXPECT_EQ(text("f"), "hello world");
  write_file(fs, dir / "f", "");
  EXPECT_EQ(text("f"), "");
}

TEST_F(FileOps, ChecksumContinues) {
  const auto bytes = [](std::string_view s) { return std::as_bytes(std::span(s)); };
  EXPECT_EQ(crc32(bytes("lo"), crc32(bytes("hel"))), crc32(bytes("hello")));
  EXPECT_EQ(crc32({}, 7), 7u);
  EXPECT_EQ(crc32_text(0xab), "000000ab");
}

TEST_F(FileOps, ShortWritesAreContinuedAndInterruptedOnesRepeated) {
  FaultFs faulty(fs);
  for (int64_t call = 0; call < 8; ++call) {
    faulty.arm(call, Fault::short_transfer);
    write_file(faulty, dir / "f", "0123456789");
    EXPECT_EQ(text("f"), "0123456789");
    faulty.arm(call, Fault::short_transfer);
    EXPECT_EQ(read_text_file(faulty, dir / "f", 100), "0123456789");
    faulty.arm(call, Fault::error, EINTR);
    EXPECT_EQ(write_file(faulty, dir / "f", "abc").bytes, 3u);
    faulty.arm(call, Fault::error, EINTR);
    EXPECT_EQ(read_text_file(faulty, dir / "f", 100), "abc");
  }
}

TEST_F(FileOps, ReplaceFileIsAllOrNothing) {
  write_file(fs, dir / "f", "old");
  FaultFs faulty(fs);
  faulty.arm(-1, Fault::error);
  replace_file(faulty, dir / "f", "old");
  const int64_t calls = faulty.calls();
  for (int64_t call = 0; call < calls; ++call) {
    faulty.arm(call, Fault::error_after, ENOSPC);
    EXPECT_EQ(error_of([&] { replace_file(faulty, dir / "f", "new"); }).substr(0, 9), "1: cannot");
    const std::string found = text("f");
    // After the rename the new text is there; only its durability is unknown.
    EXPECT_TRUE(found == "old" || (found == "new" && call == calls - 1)) << found << call;
  }
  replace_file(fs, dir / "f", "new");
  EXPECT_EQ(text("f"), "new");
  EXPECT_EQ(list_directory(fs, dir.path()), std::vector<std::string>{"f"});
}

TEST_F(FileOps, MessagesNameThePathTheReasonAndTheRemedy) {
  EXPECT_EQ(error_of([&] { read_file(fs, dir / "no", 10); }),
            "4: cannot open " + (dir / "no") + ": No such file or directory; check the path");
  EXPECT_EQ(error_of([&] { write_file(fs, dir / "no/f", "x"); }),
            "1: cannot create " + (dir / "no/f") + ": No such file or directory; check the path");
  EXPECT_EQ(error_of([&] { read_file(fs, dir.path(), 10); }),
            "4: cannot read " + dir.path() + ": not a regular file");
  EXPECT_EQ(error_of([&] { read_file(fs, "", 10); }),
            "4: cannot open \"\": No such file or directory; check the path");
  write_file(fs, dir / "f", "12345678901");
  EXPECT_EQ(error_of([&] { read_file(fs, dir / "f", 10); }),
            "4: " + (dir / "f") + ": 11 bytes, expected at most 10");
  EXPECT_EQ(error_of([&] { make_directories(fs, dir / "f/sub"); }),
            "1: cannot create directory " + (dir / "f/sub") + ": Not a directory; check the path");
  FaultFs faulty(fs);
  faulty.arm(1, Fault::error, EROFS);
  EXPECT_EQ(error_of([&] { write_file(faulty, dir / "f", "x"); }),
            "1: cannot write " + (dir / "f") +
                ": Read-only file system; the file system is read-only, choose another directory");
}

TEST_F(FileOps, ASizeOfZeroIsNotBelieved) {
  EXPECT_NE(read_text_file(fs, "/proc/self/status", 1 << 20).find("\nPid:"), std::string::npos);
  EXPECT_EQ(error_of([&] { read_file(fs, "/proc/self/status", 10); }),
            "4: /proc/self/status: does not end after 10 bytes");
}

TEST_F(FileOps, APipeIsRefusedInsteadOfWaitedFor) {
  ASSERT_EQ(::mkfifo((dir / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(error_of([&] { read_file(fs, dir / "pipe", 10); }),
            "4: cannot read " + (dir / "pipe") + ": not a regular file");
}

TEST_F(FileOps, RemoveTreeDoesNotFollowLinks) {
  make_directories(fs, dir / "keep");
  write_file(fs, dir / "keep/f", "x");
  make_directories(fs, dir / "doomed/a/b");
  write_file(fs, dir / "doomed/a/b/f", "x");
  replace_symlink(fs, dir / "doomed/a/link", "../../keep");
  remove_tree(fs, dir / "doomed");
  remove_tree(fs, dir / "doomed");  // absent is fine
  EXPECT_FALSE(exists(fs, dir / "doomed"));
  EXPECT_EQ(text("keep/f"), "x");
}

TEST_F(FileOps, LinksAreReplacedInPlace) {
  replace_symlink(fs, dir / "link", "a");
  replace_symlink(fs, dir / "link", "b");
  EXPECT_EQ(read_link(fs, dir / "link"), "b");
  real_fs().symlink("leftover", dir / "link.tmp");  // as a killed process leaves it
  replace_symlink(fs, dir / "link", "c");
  EXPECT_EQ(read_link(fs, dir / "link"), "c");
  EXPECT_EQ(read_link(fs, dir / "none"), "");
  EXPECT_EQ(list_directory(fs, dir.path()), std::vector<std::string>{"link"});
}

TEST_F(FileOps, AFailedReplacementOfALinkLeavesNothingBehind) {
  make_directories(fs, dir / "link/inside");
  EXPECT_EQ(error_of([&] { replace_symlink(fs, dir / "link", "a"); }),
            "1: cannot rename to " + (dir / "link") + ": Is a directory");
  EXPECT_EQ(list_directory(fs, dir.path()), std::vector<std::string>{"link"});
}

TEST_F(FileOps, LinksToDirectoriesAreFollowedWhenAskedFor) {
  make_directories(fs, dir / "a/real");
  write_file(fs, dir / "a/file", "x");
  replace_symlink(fs, dir / "a/near", "real");
  replace_symlink(fs, dir / "far", "a/near");
  replace_symlink(fs, dir / "absolute", dir / "far");
  replace_symlink(fs, dir / "to_file", "a/file");
  replace_symlink(fs, dir / "dangling", "nowhere");
  replace_symlink(fs, dir / "loop", "loop");
  for (const char* name : {"a/real", "a/near", "far", "absolute"})
    EXPECT_TRUE(leads_to_directory(fs, dir / name)) << name;
  for (const char* name : {"a/file", "to_file", "dangling", "loop", "none"})
    EXPECT_FALSE(leads_to_directory(fs, dir / name)) << name;
  EXPECT_FALSE(is_directory(fs, dir / "far"));
}

TEST(Paths, JoinAndParent) {
  EXPECT_EQ(join_path("a", "b"), "a/b");
  EXPECT_EQ(join_path("a/", "b"), "a/b");
  EXPECT_EQ(join_path("", "b"), "b");
  EXPECT_EQ(parent_path("a/b/c"), "a/b");
  EXPECT_EQ(parent_path("a/b//"), "a");
  EXPECT_EQ(parent_path("a"), ".");
  EXPECT_EQ(parent_path("/a"), "/");
  EXPECT_EQ(parent_path("/"), "/");
}

}  // namespace
}  // namespace elbo
