// Whole-file operations over Fs: complete writes, bounded reads, durable replacement.
//
// Interrupted calls (EINTR) are repeated and short writes continued. A failure is an elbo::Error
// that names the path, the system's reason and, where there is one, a remedy: ErrorCode::data when
// reading, ErrorCode::failure when writing. A failed sync is final: after one, the kernel may have
// dropped the data, and a second sync would report success for data that is gone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/io/fs.h"
#include "kernels/error.h"

namespace elbo {

// A file being written. Without close() the destructor closes and ignores errors (used when an
// exception is already on its way).
class FileWriter {
 public:
  FileWriter(Fs& fs, const std::string& path, OpenMode mode = OpenMode::create);
  ~FileWriter();
  FileWriter(FileWriter&& other) noexcept;
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;
  FileWriter& operator=(FileWriter&&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  void sync();   // returns when the data is on the disk
  void close();  // reports what close(2) reports: some file systems fail a write only here

  uint64_t bytes() const { return bytes_; }
  uint32_t crc32() const { return crc32_; }  // of everything written through this object
  const std::string& path() const { return path_; }

 private:
  Fs* fs_;
  std::string path_;
  int descriptor_ = -1;
  uint64_t bytes_ = 0;
  uint32_t crc32_ = 0;
};

// A regular file being read from its beginning, in pieces that the caller sizes by bytes().
class FileReader {
 public:
  FileReader(Fs& fs, const std::string& path);
  ~FileReader();
  FileReader(const FileReader&) = delete;
  FileReader& operator=(const FileReader&) = delete;

  uint64_t bytes() const { return bytes_; }     // when it was opened; files in /proc say 0
  void read(std::span<std::byte> into);         // all of it, or it throws
  size_t read_some(std::span<std::byte> into);  // what one call gives; 0 at the end

 private:
  Fs& fs_;
  std::string path_;
  int descriptor_ = -1;
  uint64_t bytes_ = 0, done_ = 0;
};

struct WrittenFile {
  uint64_t bytes = 0;
  uint32_t crc32 = 0;
};

// Creates, writes and syncs. The new name is durable only after sync_directory(parent).
WrittenFile write_file(Fs& fs, const std::string& path, std::string_view text);

// All or nothing: path.tmp, sync, rename, sync of the directory.
void replace_file(Fs& fs, const std::string& path, std::string_view text);
// The same for what is too large to be held twice: `write` writes all of it.
void replace_file_with(Fs& fs, const std::string& path,
                       const std::function<void(FileWriter&)>& write);

// As replace_file, for a symbolic link. The caller syncs the directory.
void replace_symlink(Fs& fs, const std::string& path, const std::string& target);

// Reads a regular file of at most max_bytes. Nothing is allocated before the size is checked.
// A size of 0 is not believed: files in /proc say so whatever they hold.
std::vector<std::byte> read_file(Fs& fs, const std::string& path, uint64_t max_bytes);
std::string read_text_file(Fs& fs, const std::string& path, uint64_t max_bytes);

bool exists(Fs& fs, const std::string& path);
bool is_directory(Fs& fs, const std::string& path);        // false for a link to one
bool leads_to_directory(Fs& fs, const std::string& path);  // is one, or a link to one
std::string read_link(Fs& fs, const std::string& path);    // empty if there is no such link
std::vector<std::string> list_directory(Fs& fs, const std::string& path);  // sorted

void make_directories(Fs& fs, const std::string& path);  // with parents, each made durable
void sync_directory(Fs& fs, const std::string& path);
void rename_path(Fs& fs, const std::string& from, const std::string& to);
void remove_tree(Fs& fs, const std::string& path);  // absent is fine; links are not followed

std::string join_path(std::string_view directory, std::string_view name);
std::string parent_path(const std::string& path);

// "cannot open x: No such file or directory; check the path"
[[noreturn]] void throw_io_error(ErrorCode code, std::string_view action, const std::string& path,
                                 int error_number);

}  // namespace elbo
