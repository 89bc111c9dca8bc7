#include "tests/support/crash_fs.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace elbo {
namespace {

std::vector<std::string> split(const std::string& path) {
  std::vector<std::string> parts;
  std::string part;
  for (const char c : path + "/") {
    if (c != '/') {
      part += c;
    } else if (!part.empty() && part != ".") {
      parts.push_back(std::exchange(part, ""));
    }
  }
  return parts;
}

}  // namespace

CrashFs::CrashFs() : root_(std::make_shared<Node>()) { root_->kind = PathKind::directory; }

bool CrashFs::power_fails() {
  ++operations_;
  return is_cut();
}

// Links are expected to name a sibling, as those of checkpoints/ do.
CrashFs::Place CrashFs::find(const std::string& path, bool follow) const {
  const std::vector<std::string> parts = split(path);
  Place place{nullptr, "", root_};
  for (size_t i = 0; i < parts.size(); ++i) {
    if (!place.node || place.node->kind != PathKind::directory) return {};
    place = {place.node, parts[i], nullptr};
    const Entries& entries = place.directory->entries;
    auto entry = entries.find(parts[i]);
    const bool is_link = entry != entries.end() && entry->second->kind == PathKind::symlink;
    if (is_link && (follow || i + 1 < parts.size())) entry = entries.find(entry->second->cache);
    if (entry != entries.end()) place.node = entry->second;
  }
  return place;
}

void CrashFs::change(const NodePtr& directory, Change change) {
  for (const auto& [name, node] : change) {
    if (node) {
      directory->entries[name] = node;
    } else {
      directory->entries.erase(name);
    }
  }
  directory->pending.push_back(std::move(change));
}

int CrashFs::add(const std::string& path, NodePtr node) {
  if (power_fails()) return -EIO;
  const Place place = find(path, false);
  if (!place.directory) return -ENOENT;
  if (place.node) return -EEXIST;
  change(place.directory, {{place.name, std::move(node)}});
  return 0;
}

int CrashFs::open(const std::string& path, OpenMode mode) {
  Place place = find(path, true);
  if (mode == OpenMode::read) {
    if (is_cut()) return -EIO;
    if (!place.node) return -ENOENT;
  } else {
    if (power_fails()) return -EIO;
    if (!place.directory) return -ENOENT;
    if (place.node && place.node->kind != PathKind::file) return -EISDIR;
    if (!place.node) {
      place.node = std::make_shared<Node>();
      change(place.directory, {{place.name, place.node}});
    } else if (mode == OpenMode::create) {
      place.node->cache.clear();
    }
  }
  open_files_[next_descriptor_] = {place.node, 0};
  return next_descriptor_++;
}

int64_t CrashFs::read(int descriptor, std::span<std::byte> into) {
  if (is_cut()) return -EIO;
  OpenFile& file = open_files_.at(descriptor);
  const std::string& data = file.node->cache;
  const size_t count = std::min(into.size(), data.size() - file.position);
  std::memcpy(into.data(), data.data() + file.position, count);
  file.position += count;
  return static_cast<int64_t>(count);
}

int64_t CrashFs::write(int descriptor, std::span<const std::byte> bytes) {
  if (power_fails()) return -EIO;
  open_files_.at(descriptor)
      .node->cache.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return static_cast<int64_t>(bytes.size());
}

int CrashFs::sync(int descriptor) {
  if (power_fails()) return -EIO;
  Node& node = *open_files_.at(descriptor).node;
  if (!ignore_file_sync_) node.disk = node.cache;
  return 0;
}

int CrashFs::close(int descriptor) {
  open_files_.erase(descriptor);
  return 0;
}

int CrashFs::file_info(int descriptor, PathInfo& info) {
  const Node& node = *open_files_.at(descriptor).node;
  info = {node.kind, node.cache.size()};
  return 0;
}

int CrashFs::info(const std::string& path, PathInfo& info) {
  if (is_cut()) return -EIO;
  const Place place = find(path, false);
  if (!place.node) return -ENOENT;
  info = {place.node->kind, place.node->cache.size()};
  return 0;
}

int CrashFs::list(const std::string& path, std::vector<std::string>& names) {
  if (is_cut()) return -EIO;
  const Place place = find(path, true);
  if (!place.node) return -ENOENT;
  if (place.node->kind != PathKind::directory) return -ENOTDIR;
  names.clear();
  for (const auto& [name, node] : place.node->entries) names.push_back(name);
  return 0;
}

int CrashFs::read_link(const std::string& path, std::string& target) {
  if (is_cut()) return -EIO;
  const Place place = find(path, false);
  if (!place.node) return -ENOENT;
  if (place.node->kind != PathKind::symlink) return -EINVAL;
  target = place.node->cache;
  return 0;
}

int CrashFs::make_directory(const std::string& path) {
  auto node = std::make_shared<Node>();
  node->kind = PathKind::directory;
  return add(path, std::move(node));
}

int CrashFs::symlink(const std::string& target, const std::string& path) {
  auto node = std::make_shared<Node>();
  node->kind = PathKind::symlink;
  node->cache = node->disk = target;  // a short target lives in the inode, not in a data block
  return add(path, std::move(node));
}

int CrashFs::sync_directory(const std::string& path) {
  if (power_fails()) return -EIO;
  const Place place = find(path, true);
  if (!place.node) return -ENOENT;
  if (ignore_directory_sync_) return 0;
  place.node->on_disk = place.node->entries;
  place.node->pending.clear();
  return 0;
}

int CrashFs::remove_directory(const std::string& path) {
  if (power_fails()) return -EIO;
  const Place place = find(path, false);
  if (!place.node) return -ENOENT;
  if (place.node->kind != PathKind::directory) return -ENOTDIR;
  if (!place.node->entries.empty()) return -ENOTEMPTY;
  change(place.directory, {{place.name, nullptr}});
  return 0;
}

int CrashFs::remove_file(const std::string& path) {
  if (power_fails()) return -EIO;
  const Place place = find(path, false);
  if (!place.node) return -ENOENT;
  if (place.node->kind == PathKind::directory) return -EISDIR;
  change(place.directory, {{place.name, nullptr}});
  return 0;
}

int CrashFs::rename(const std::string& from, const std::string& to) {
  if (power_fails()) return -EIO;
  const Place source = find(from, false);
  const Place target = find(to, false);
  if (!source.node || !target.directory) return -ENOENT;
  if (source.directory != target.directory) return -EXDEV;  // nobody should need it
  if (target.node && target.node->kind == PathKind::directory && !target.node->entries.empty()) {
    return -ENOTEMPTY;
  }
  change(source.directory, {{source.name, nullptr}, {target.name, source.node}});
  return 0;
}

std::unique_ptr<CrashFs> CrashFs::after_crash(std::mt19937_64& random) const {
  auto disk = std::make_unique<CrashFs>();
  disk->root_ = surviving(root_, random);
  return disk;
}

CrashFs::NodePtr CrashFs::surviving(const NodePtr& node, std::mt19937_64& random) {
  auto copy = std::make_shared<Node>();
  copy->kind = node->kind;
  copy->cache = copy->disk = surviving_data(*node, random);
  Entries entries = node->on_disk;
  for (const Change& change : node->pending) {
    if (random() % 2 == 0) continue;
    for (const auto& [name, target] : change) {
      if (target) {
        entries[name] = target;
      } else {
        entries.erase(name);
      }
    }
  }
  for (const auto& [name, target] : entries) copy->entries[name] = surviving(target, random);
  copy->on_disk = copy->entries;
  return copy;
}

std::string CrashFs::surviving_data(const Node& node, std::mt19937_64& random) {
  if (node.cache == node.disk) return node.disk;
  std::string data = node.cache;
  const size_t position = random() % (data.size() + 1);
  switch (random() % 5) {
    case 0:
      return node.disk;  // nothing of it was written
    case 1:
      return data.substr(0, position);  // a prefix
    case 2:                             // the length, but the tail never came
      std::fill(data.begin() + static_cast<ptrdiff_t>(position), data.end(), '\0');
      return data;
    case 3:  // a hole in the middle
      for (size_t i = position; i < std::min(position + 16, data.size()); ++i) data[i] = '\0';
      return data;
    default:
      return data;  // all of it
  }
}

}  // namespace elbo
