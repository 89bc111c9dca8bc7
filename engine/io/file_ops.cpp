#include "engine/io/file_ops.h"

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "engine/io/crc32.h"

namespace elbo {
namespace {

// write(2) transfers at most 2^31 - 4096 bytes per call on Linux; smaller pieces also let a signal
// through during a large checkpoint.
constexpr size_t kMaxTransfer = size_t{64} << 20;

template <class Call>
auto retry(Call call) {
  auto result = call();
  while (result == -EINTR) result = call();
  return result;
}

void check_write(int64_t result, std::string_view action, const std::string& path) {
  if (result < 0) throw_io_error(ErrorCode::failure, action, path, static_cast<int>(-result));
}

void check_read(int64_t result, std::string_view action, const std::string& path) {
  if (result < 0) throw_io_error(ErrorCode::data, action, path, static_cast<int>(-result));
}

std::string_view remedy(int error_number) {
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
      return "; free some space or choose another directory";
    case EFBIG:
      return "; raise the limit on the size of files (ulimit -f)";
    case EACCES:
    case EPERM:
      return "; check the permissions";
    case EROFS:
      return "; the file system is read-only, choose another directory";
    case ENOENT:
    case ENOTDIR:
      return "; check the path";
    case EIO:
      return "; the disk reports a fault, see the system log";
    case EMFILE:
    case ENFILE:
      return "; raise the limit on open files (ulimit -n)";
    case ENAMETOOLONG:
      return "; choose a shorter name";
    default:
      return "";
  }
}

}  // namespace

void throw_io_error(ErrorCode code, std::string_view action, const std::string& path,
                    int error_number) {
  throw_error(code, "cannot ", action, " ", path.empty() ? "\"\"" : path, ": ",
              std::generic_category().message(error_number), remedy(error_number));
}

FileWriter::FileWriter(Fs& fs, const std::string& path, OpenMode mode) : fs_(&fs), path_(path) {
  descriptor_ = retry([&] { return fs.open(path, mode); });
  check_write(descriptor_, "create", path);
}

FileWriter::FileWriter(FileWriter&& other) noexcept
    : fs_(other.fs_),
      path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      bytes_(other.bytes_),
      crc32_(other.crc32_) {}

FileWriter::~FileWriter() {
  if (descriptor_ >= 0) fs_->close(descriptor_);
}

void FileWriter::write(std::span<const std::byte> bytes) {
  crc32_ = elbo::crc32(bytes, crc32_);
  bytes_ += bytes.size();
  while (!bytes.empty()) {
    const auto piece = bytes.first(std::min(bytes.size(), kMaxTransfer));
    const int64_t written = retry([&] { return fs_->write(descriptor_, piece); });
    check_write(written, "write", path_);
    // POSIX allows a write of nothing; without progress the loop would never end.
    if (written == 0) throw_io_error(ErrorCode::failure, "write", path_, ENOSPC);
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

void FileWriter::sync() {
  check_write(retry([&] { return fs_->sync(descriptor_); }), "write", path_);
}

void FileWriter::close() {
  // Not repeated after EINTR: on Linux the descriptor is gone, and may already be someone else's.
  const int result = fs_->close(std::exchange(descriptor_, -1));
  if (result != -EINTR) check_write(result, "write", path_);
}

WrittenFile write_file(Fs& fs, const std::string& path, std::string_view text) {
  FileWriter file(fs, path);
  file.write(text);
  file.sync();
  file.close();
  return {file.bytes(), file.crc32()};
}

void replace_file(Fs& fs, const std::string& path, std::string_view text) {
  replace_file_with(fs, path, [&](FileWriter& file) { file.write(text); });
}

void replace_file_with(Fs& fs, const std::string& path,
                       const std::function<void(FileWriter&)>& write) {
  const std::string temporary = path + ".tmp";
  try {
    FileWriter file(fs, temporary);
    write(file);
    file.sync();
    file.close();
    rename_path(fs, temporary, path);
  } catch (...) {
    fs.remove_file(temporary);
    throw;
  }
  sync_directory(fs, parent_path(path));
}

void replace_symlink(Fs& fs, const std::string& path, const std::string& target) {
  const std::string temporary = path + ".tmp";
  int result = retry([&] { return fs.symlink(target, temporary); });
  if (result == -EEXIST) {  // left behind by a process that was killed here
    fs.remove_file(temporary);
    result = retry([&] { return fs.symlink(target, temporary); });
  }
  check_write(result, "create link", temporary);
  try {
    rename_path(fs, temporary, path);
  } catch (...) {
    fs.remove_file(temporary);
    throw;
  }
}

FileReader::FileReader(Fs& fs, const std::string& path) : fs_(fs), path_(path) {
  descriptor_ = retry([&] { return fs.open(path, OpenMode::read); });
  check_read(descriptor_, "open", path);
  try {
    PathInfo info;
    check_read(retry([&] { return fs.file_info(descriptor_, info); }), "read", path);
    if (info.kind != PathKind::file) {
      throw_error(ErrorCode::data, "cannot read ", path, ": not a regular file");
    }
    bytes_ = info.bytes;
  } catch (...) {
    fs.close(descriptor_);
    throw;
  }
}

FileReader::~FileReader() { fs_.close(descriptor_); }

size_t FileReader::read_some(std::span<std::byte> into) {
  const auto piece = into.first(std::min(into.size(), kMaxTransfer));
  const int64_t count = retry([&] { return fs_.read(descriptor_, piece); });
  check_read(count, "read", path_);
  done_ += static_cast<uint64_t>(count);
  return static_cast<size_t>(count);
}

void FileReader::read(std::span<std::byte> into) {
  while (!into.empty()) {
    const size_t count = read_some(into);
    if (count == 0) {
      throw_error(ErrorCode::data, path_, ": ended after ", done_, " bytes, expected ", bytes_,
                  "; it changed while it was read");
    }
    into = into.subspan(count);
  }
}

namespace {

// Of a file that says it is empty, as those in /proc do whatever they hold.
std::vector<std::byte> read_to_the_end(FileReader& file, const std::string& path,
                                       uint64_t max_bytes) {
  constexpr size_t kPiece = 64 << 10;
  std::vector<std::byte> bytes;
  for (;;) {
    const size_t filled = bytes.size();
    bytes.resize(filled + kPiece);
    const size_t count = file.read_some(std::span(bytes).subspan(filled));
    bytes.resize(filled + count);
    if (count == 0) return bytes;
    if (bytes.size() > max_bytes) {
      throw_error(ErrorCode::data, path, ": does not end after ", max_bytes, " bytes");
    }
  }
}

}  // namespace

std::vector<std::byte> read_file(Fs& fs, const std::string& path, uint64_t max_bytes) {
  FileReader file(fs, path);
  if (file.bytes() > max_bytes) {
    throw_error(ErrorCode::data, path, ": ", file.bytes(), " bytes, expected at most ", max_bytes);
  }
  if (file.bytes() == 0) return read_to_the_end(file, path, max_bytes);
  std::vector<std::byte> bytes(file.bytes());
  file.read(bytes);
  return bytes;
}

std::string read_text_file(Fs& fs, const std::string& path, uint64_t max_bytes) {
  const std::vector<std::byte> bytes = read_file(fs, path, max_bytes);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

bool exists(Fs& fs, const std::string& path) {
  PathInfo info;
  const int result = retry([&] { return fs.info(path, info); });
  if (result == -ENOENT || result == -ENOTDIR) return false;
  check_read(result, "look at", path);
  return true;
}

bool is_directory(Fs& fs, const std::string& path) {
  PathInfo info;
  const int result = retry([&] { return fs.info(path, info); });
  if (result == -ENOENT || result == -ENOTDIR) return false;
  check_read(result, "look at", path);
  return info.kind == PathKind::directory;
}

bool leads_to_directory(Fs& fs, const std::string& path) {
  constexpr int kMostLinks = 40;  // as many as Linux follows
  std::string place = path;
  for (int links = 0; links < kMostLinks; ++links) {
    const std::string target = read_link(fs, place);
    if (target.empty()) return is_directory(fs, place);
    place = target.starts_with('/') ? target : join_path(parent_path(place), target);
  }
  return false;
}

std::string read_link(Fs& fs, const std::string& path) {
  std::string target;
  const int result = retry([&] { return fs.read_link(path, target); });
  if (result == -ENOENT || result == -EINVAL || result == -ENOTDIR) return "";
  check_read(result, "read link", path);
  return target;
}

std::vector<std::string> list_directory(Fs& fs, const std::string& path) {
  std::vector<std::string> names;
  check_read(retry([&] { return fs.list(path, names); }), "list", path);
  std::sort(names.begin(), names.end());
  return names;
}

void make_directories(Fs& fs, const std::string& path) {
  const int result = retry([&] { return fs.make_directory(path); });
  if (result == -EEXIST) return;
  const std::string parent = parent_path(path);
  if (result == -ENOENT && parent != path) {
    make_directories(fs, parent);
    const int second = retry([&] { return fs.make_directory(path); });
    if (second == -EEXIST) return;
    check_write(second, "create directory", path);
  } else {
    check_write(result, "create directory", path);
  }
  sync_directory(fs, parent);
}

void sync_directory(Fs& fs, const std::string& path) {
  check_write(retry([&] { return fs.sync_directory(path); }), "sync directory", path);
}

void rename_path(Fs& fs, const std::string& from, const std::string& to) {
  check_write(retry([&] { return fs.rename(from, to); }), "rename to", to);
}

void remove_tree(Fs& fs, const std::string& path) {
  PathInfo info;
  int result = retry([&] { return fs.info(path, info); });
  if (result == -ENOENT) return;
  check_write(result, "remove", path);
  if (info.kind == PathKind::directory) {
    for (const std::string& name : list_directory(fs, path)) remove_tree(fs, join_path(path, name));
    result = retry([&] { return fs.remove_directory(path); });
  } else {
    result = retry([&] { return fs.remove_file(path); });
  }
  if (result != -ENOENT) check_write(result, "remove", path);
}

std::string join_path(std::string_view directory, std::string_view name) {
  std::string path(directory);
  if (!path.empty() && path.back() != '/') path += '/';
  return path += name;
}

std::string parent_path(const std::string& path) {
  const size_t last = path.find_last_not_of('/');
  if (last == std::string::npos) return path.empty() ? "." : "/";
  const size_t slash = path.rfind('/', last);
  if (slash == std::string::npos) return ".";
  const size_t end = path.find_last_not_of('/', slash);
  return end == std::string::npos ? "/" : path.substr(0, end + 1);
}

}  // namespace elbo
