// A file system in memory that knows what is on the disk and what is only in the page cache, so
// that a test can cut the power at any operation and look at every plausible disk.
//
// The model is as unkind as POSIX allows, hence unkinder than ext4:
//   - file data is on the disk only after sync(); until then a file may show its old content, any
//     prefix of the new one, or the right length with zeros where data should be
//   - a directory change (create, rename, remove) is on the disk only after sync_directory() of
//     that directory; until then each change may or may not have happened, independent of others
//
// Usage     run the writer on a CrashFs with cut_at(n); every call from the n-th writing operation
//           on fails with EIO and does nothing. Then after_crash(random) gives one possible disk,
//           as a file system of its own, on which the reader is tried.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "engine/io/fs.h"

namespace elbo {

class CrashFs final : public Fs {
 public:
  CrashFs();

  void cut_at(int64_t operation) { cut_at_ = operation; }
  int64_t operations() const { return operations_; }  // writing operations so far
  bool is_cut() const { return cut_at_ >= 0 && operations_ > cut_at_; }

  // For negative controls: a writer that forgets one kind of sync.
  void ignore_file_sync() { ignore_file_sync_ = true; }
  void ignore_directory_sync() { ignore_directory_sync_ = true; }

  std::unique_ptr<CrashFs> after_crash(std::mt19937_64& random) const;

  int open(const std::string& path, OpenMode mode) override;
  int64_t read(int descriptor, std::span<std::byte> into) override;
  int64_t write(int descriptor, std::span<const std::byte> bytes) override;
  int sync(int descriptor) override;
  int close(int descriptor) override;
  int lock(int) override { return 0; }
  int file_info(int descriptor, PathInfo& info) override;
  int info(const std::string& path, PathInfo& info) override;
  int list(const std::string& path, std::vector<std::string>& names) override;
  int read_link(const std::string& path, std::string& target) override;
  int make_directory(const std::string& path) override;
  int sync_directory(const std::string& path) override;
  int remove_directory(const std::string& path) override;
  int remove_file(const std::string& path) override;
  int rename(const std::string& from, const std::string& to) override;
  int symlink(const std::string& target, const std::string& path) override;

 private:
  struct Node;
  using NodePtr = std::shared_ptr<Node>;
  using Entries = std::map<std::string, NodePtr>;
  using Change = std::vector<std::pair<std::string, NodePtr>>;  // null removes the name

  struct Node {
    PathKind kind = PathKind::file;
    std::string cache, disk;      // file content; a link's target is in `cache`
    Entries entries, on_disk;     // directory
    std::vector<Change> pending;  // changes of `entries` that are not yet in `on_disk`
  };
  struct OpenFile {
    NodePtr node;
    size_t position = 0;
  };
  struct Place {  // where a name is, or would be
    NodePtr directory;
    std::string name;
    NodePtr node;  // null if there is no such name
  };

  bool power_fails();  // counts a writing operation
  Place find(const std::string& path, bool follow) const;
  static void change(const NodePtr& directory, Change change);
  int add(const std::string& path, NodePtr node);
  static NodePtr surviving(const NodePtr& node, std::mt19937_64& random);
  static std::string surviving_data(const Node& node, std::mt19937_64& random);

  NodePtr root_;
  std::map<int, OpenFile> open_files_;
  int next_descriptor_ = 3;
  int64_t operations_ = 0;
  int64_t cut_at_ = -1;
  bool ignore_file_sync_ = false;
  bool ignore_directory_sync_ = false;
};

}  // namespace elbo
