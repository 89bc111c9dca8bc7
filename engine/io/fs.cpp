#include "engine/io/fs.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>

namespace elbo {
namespace {

template <class Result>
Result or_errno(Result result) {
  return result < 0 ? static_cast<Result>(-errno) : result;
}

PathInfo describe(const struct stat& status) {
  PathKind kind = PathKind::other;
  if (S_ISREG(status.st_mode)) kind = PathKind::file;
  if (S_ISDIR(status.st_mode)) kind = PathKind::directory;
  if (S_ISLNK(status.st_mode)) kind = PathKind::symlink;
  constexpr int64_t kNanoseconds = 1'000'000'000;
  return {kind, static_cast<uint64_t>(std::max<off_t>(status.st_size, 0)),
          int64_t{status.st_mtim.tv_sec} * kNanoseconds + int64_t{status.st_mtim.tv_nsec},
          uint64_t{status.st_dev}, uint64_t{status.st_ino}};
}

class RealFs final : public Fs {
 public:
  int open(const std::string& path, OpenMode mode) override {
    int flags = O_CLOEXEC;
    // O_NONBLOCK: opening a FIFO by mistake must fail the later "is it a file" check, not hang.
    if (mode == OpenMode::read) flags |= O_RDONLY | O_NONBLOCK;
    if (mode == OpenMode::create) flags |= O_WRONLY | O_CREAT | O_TRUNC;
    if (mode == OpenMode::append) flags |= O_WRONLY | O_CREAT | O_APPEND;
    return or_errno(::open(path.c_str(), flags, 0666));
  }

  int64_t read(int descriptor, std::span<std::byte> into) override {
    return or_errno<int64_t>(::read(descriptor, into.data(), into.size()));
  }

  int64_t write(int descriptor, std::span<const std::byte> bytes) override {
    return or_errno<int64_t>(::write(descriptor, bytes.data(), bytes.size()));
  }

  int sync(int descriptor) override { return or_errno(::fsync(descriptor)); }
  int close(int descriptor) override { return or_errno(::close(descriptor)); }
  int lock(int descriptor) override { return or_errno(::flock(descriptor, LOCK_EX | LOCK_NB)); }

  int file_info(int descriptor, PathInfo& info) override {
    struct stat status;
    if (::fstat(descriptor, &status) < 0) return -errno;
    info = describe(status);
    return 0;
  }

  int info(const std::string& path, PathInfo& info) override {
    struct stat status;
    if (::lstat(path.c_str(), &status) < 0) return -errno;
    info = describe(status);
    return 0;
  }

  int list(const std::string& path, std::vector<std::string>& names) override {
    names.clear();
    DIR* directory = ::opendir(path.c_str());
    if (directory == nullptr) return -errno;
    errno = 0;
    while (const dirent* entry = ::readdir(directory)) {
      const std::string name = entry->d_name;
      if (name != "." && name != "..") names.push_back(name);
      errno = 0;  // readdir reports an error only through errno
    }
    const int error = errno;
    ::closedir(directory);
    return -error;
  }

  int read_link(const std::string& path, std::string& target) override {
    char buffer[PATH_MAX];
    const ssize_t length = ::readlink(path.c_str(), buffer, sizeof buffer);
    if (length < 0) return -errno;
    target.assign(buffer, static_cast<size_t>(length));
    return 0;
  }

  int make_directory(const std::string& path) override {
    return or_errno(::mkdir(path.c_str(), 0777));
  }

  int sync_directory(const std::string& path) override {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) return -errno;
    int result = or_errno(::fsync(descriptor));
    // Some network file systems cannot sync a directory and say EINVAL; they have nothing to sync.
    if (result == -EINVAL) result = 0;
    ::close(descriptor);
    return result;
  }

  int remove_directory(const std::string& path) override { return or_errno(::rmdir(path.c_str())); }
  int remove_file(const std::string& path) override { return or_errno(::unlink(path.c_str())); }

  int rename(const std::string& from, const std::string& to) override {
    return or_errno(std::rename(from.c_str(), to.c_str()));
  }

  int symlink(const std::string& target, const std::string& path) override {
    return or_errno(::symlink(target.c_str(), path.c_str()));
  }
};

}  // namespace

Fs& real_fs() {
  static RealFs fs;
  return fs;
}

}  // namespace elbo
