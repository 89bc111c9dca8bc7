// What the files of a folder became, kept so that the next start need not decode them.
//
//   "ELBOPIX1" | key length, key | broken files | height, width, channels | pixels | CRC-32
//
// The key is text: the folder's absolute path, what was asked for, and each file's name, size and time
// of change. It is compared whole, so a file that was changed, added or removed is noticed.
//
// Integers  little-endian u64
// Errors    none: a cache that cannot be read or written is a note, and the files are there. A damaged
//           one is not believed: lengths are checked against the file's before anything is allocated
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/io/image_folder.h"

namespace elbo {

struct BrokenFile {
  size_t file = 0;  // in FolderListing::files
  std::string why;
};

// All pictures of a listing in one size, without those that are broken.
struct FolderPixels {
  int64_t height = 0, width = 0, channels = 0;
  std::vector<BrokenFile> broken;      // in the order of files
  std::vector<std::byte> train, test;  // [n, height, width, channels]
  int64_t image_bytes() const { return height * width * channels; }
};

class ImageCache {
 public:
  // Off if options.cache_directory is empty.
  ImageCache(Fs& fs, const FolderListing& listing, const ImageFolderOptions& options);

  bool on() const { return !path_.empty(); }
  const std::string& path() const { return path_; }
  std::string list_path() const { return path_ + ".broken.txt"; }  // of broken files

  // Nothing if there is none, or not of these files; `why` says which, and is empty for none.
  std::optional<FolderPixels> load(std::string& why);
  void save(const FolderPixels& pixels);  // throws what replace_file_with() does

 private:
  FolderPixels read(FileReader& file);

  Fs& fs_;
  const FolderListing& listing_;
  std::string path_, key_;
};

}  // namespace elbo
