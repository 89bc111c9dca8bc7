// A folder of picture files as a data set: its subfolders are the classes.
//
//   DIR/cat/1.png DIR/dog/big/7.jpg     labels 0 and 1: first folders below DIR, names sorted
//   DIR/train/cat/1.png DIR/test/...    the same below each split; val/ where there is no test/
//   DIR/1.png                           no labels
//   DIR/attributes.csv                  numbers known of the files: engine/io/attributes.h
//
// Reading guide. scan_image_folder() lists the files, load_image_folder() reads them with all CPU
// threads (image_folder_load.cpp), engine/io/image_cache.h keeps what they became for the next start.
//
// Skipped   hidden files and folders, __MACOSX, links that lead nowhere, folders met twice (loops)
// Broken    files that cannot be decoded are left out and named: the first in the log, all in a list
//           beside the cache. ErrorCode::data if none is left to train on
// Order     by name, so the same on every machine
#pragma once

#include <string>
#include <vector>

#include "engine/io/attributes.h"
#include "engine/io/image_set.h"
#include "engine/io/log.h"

namespace elbo {

struct ImageFolderOptions {
  int64_t height = 0, width = 0;  // 0: as most files
  int64_t channels = 0;           // 1 or 3; 0: as most files
  std::string cache_directory;    // empty: none
};

struct FolderFile {
  std::string name;  // below the folder
  bool test = false;
  uint8_t label = 0;
  uint64_t bytes = 0;
  int64_t modified_ns = 0;
};

struct FolderListing {
  std::string folder;
  std::vector<FolderFile> files;  // training files first; each split by name
  size_t train_files = 0;
  std::vector<std::string> class_names;  // empty: labels mean nothing
  std::string note;                      // why there are no labels where some might be expected
};

// No files is no error.
FolderListing scan_image_folder(Fs& fs, const std::string& folder);

// Without test files `test` stays empty.
ImageSet load_image_folder(Fs& fs, const FolderListing& listing, const ImageFolderOptions& options,
                           const AttributeWish& attributes, Log& log);

}  // namespace elbo
