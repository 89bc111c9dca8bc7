#include <algorithm>
#include <limits>
#include <map>
#include <set>

#include "engine/io/image_file.h"
#include "engine/io/image_folder.h"

namespace elbo {
namespace {

constexpr size_t kMostLabels = size_t{std::numeric_limits<uint8_t>::max()} + 1;
constexpr int kDeepest = 64;  // folders; the set of those seen ends loops long before

// Through links, which Fs::info does not follow; kind `other` if it cannot be opened.
PathInfo info_of_target(Fs& fs, const std::string& path) {
  PathInfo info;
  if (fs.info(path, info) < 0) return {};
  if (info.kind != PathKind::symlink) return info;
  const int descriptor = fs.open(path, OpenMode::read);
  if (descriptor < 0) return {};
  if (fs.file_info(descriptor, info) < 0) info = {};
  fs.close(descriptor);
  return info;
}

bool is_skipped(const std::string& name) { return name.starts_with('.') || name == "__MACOSX"; }

class Scan {
 public:
  Scan(Fs& fs, std::string folder) : fs_(fs), folder_(std::move(folder)) {}

  // Files below `below` (a name within the folder, or empty), sorted by name.
  std::vector<FolderFile> files(const std::string& below) {
    found_.clear();
    visit(below, 0);
    std::sort(found_.begin(), found_.end(),
              [](const FolderFile& a, const FolderFile& b) { return a.name < b.name; });
    return std::move(found_);
  }

  bool has_folder(const std::string& name) {
    return info_of_target(fs_, join_path(folder_, name)).kind == PathKind::directory;
  }

 private:
  void visit(const std::string& below, int depth) {
    const std::string path = below.empty() ? folder_ : join_path(folder_, below);
    const PathInfo info = info_of_target(fs_, path);
    if (depth > kDeepest || !seen_.insert({info.device, info.inode}).second) return;
    for (const std::string& name : list_directory(fs_, path)) {
      if (is_skipped(name)) continue;
      const std::string inside = below.empty() ? name : join_path(below, name);
      const PathInfo entry = info_of_target(fs_, join_path(folder_, inside));
      if (entry.kind == PathKind::directory) visit(inside, depth + 1);
      if (entry.kind == PathKind::file && is_picture_name(name)) {
        found_.push_back({inside, false, 0, entry.bytes, entry.modified_ns});
      }
    }
  }

  Fs& fs_;
  std::string folder_;
  std::set<std::pair<uint64_t, uint64_t>> seen_;
  std::vector<FolderFile> found_;
};

// The first folder of a name below `root`; empty for a file that lies in it directly.
std::string class_of(const std::string& name, const std::string& root) {
  const size_t begin = root.empty() ? 0 : root.size() + 1;
  const size_t slash = name.find('/', begin);
  return slash == std::string::npos ? "" : name.substr(begin, slash - begin);
}

void set_labels(FolderListing& listing, const std::string& train_root,
                const std::string& test_root) {
  std::map<std::string, size_t> classes;
  for (size_t i = 0; i < listing.train_files; ++i)
    classes.try_emplace(class_of(listing.files[i].name, train_root));
  const auto say = [&](std::string why) {
    listing.note = "labels are not used: " + std::move(why);
  };
  if (classes.size() < 2) return;  // nothing to tell apart
  if (classes.contains("")) return say("some images lie beside the folders of classes");
  if (classes.size() > kMostLabels) {
    return say(concat(classes.size(), " classes, at most ", kMostLabels, " can be told apart"));
  }
  size_t next = 0;
  for (auto& [name, label] : classes) label = next++;
  for (FolderFile& file : listing.files) {
    const std::string name = class_of(file.name, file.test ? test_root : train_root);
    const auto found = classes.find(name);
    if (found == classes.end()) {
      throw_error(ErrorCode::data, join_path(listing.folder, file.name), ": its folder ",
                  name.empty() ? test_root : name, " is no class of ", train_root,
                  "/; give both splits the same folders");
    }
    file.label = static_cast<uint8_t>(found->second);
  }
  for (const auto& entry : classes) listing.class_names.push_back(entry.first);
}

}  // namespace

FolderListing scan_image_folder(Fs& fs, const std::string& folder) {
  Scan scan(fs, folder);
  FolderListing listing;
  listing.folder = folder;
  std::string train_root, test_root;
  for (const char* name : {"train", "training"}) {
    if (train_root.empty() && scan.has_folder(name)) train_root = name;
  }
  for (const char* name : {"test", "testing", "val", "valid", "validation"}) {
    if (!train_root.empty() && test_root.empty() && scan.has_folder(name)) test_root = name;
  }
  listing.files = scan.files(train_root);
  listing.train_files = listing.files.size();
  if (!test_root.empty()) {
    for (FolderFile& file : scan.files(test_root)) {
      file.test = true;
      listing.files.push_back(std::move(file));
    }
  }
  set_labels(listing, train_root, test_root);
  return listing;
}

}  // namespace elbo
