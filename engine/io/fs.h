// The file system as one small interface, one system call per function.
//
// Everything that writes goes through Fs, so that a test can cut the power, fill the disk or fail
// any single call (tests/support/crash_fs.h, fault_fs.h). What callers use day to day are the
// helpers in file_ops.h, which retry, loop over short writes and turn errors into elbo::Error.
//
// Results   a value >= 0, or -errno
// Paths     plain strings, '/' separated
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace elbo {

enum class OpenMode {
  read,
  create,  // write; an existing file is emptied
  append,  // write at the end; created if absent
};

enum class PathKind { file, directory, symlink, other };

struct PathInfo {
  PathKind kind = PathKind::other;
  uint64_t bytes = 0;
  int64_t modified_ns = 0;  // since 1970
  uint64_t device = 0, inode = 0;
};

class Fs {
 public:
  virtual ~Fs() = default;

  virtual int open(const std::string& path, OpenMode mode) = 0;  // a descriptor; follows symlinks
  virtual int64_t read(int descriptor, std::span<std::byte> into) = 0;
  virtual int64_t write(int descriptor, std::span<const std::byte> bytes) = 0;
  virtual int sync(int descriptor) = 0;
  virtual int close(int descriptor) = 0;
  virtual int lock(int descriptor) = 0;  // exclusive, non-blocking; -EWOULDBLOCK if taken
  virtual int file_info(int descriptor, PathInfo& info) = 0;

  virtual int info(const std::string& path, PathInfo& info) = 0;  // does not follow symlinks
  virtual int list(const std::string& path, std::vector<std::string>& names) = 0;
  virtual int read_link(const std::string& path, std::string& target) = 0;

  virtual int make_directory(const std::string& path) = 0;
  virtual int sync_directory(const std::string& path) = 0;
  virtual int remove_directory(const std::string& path) = 0;  // must be empty
  virtual int remove_file(const std::string& path) = 0;       // also removes a symlink
  virtual int rename(const std::string& from, const std::string& to) = 0;
  virtual int symlink(const std::string& target, const std::string& path) = 0;
};

// The machine's own file system. Stateless; may be used from any thread.
Fs& real_fs();

}  // namespace elbo
