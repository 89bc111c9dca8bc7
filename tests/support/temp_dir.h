// A directory of its own for a test, removed at the end.
#pragma once

#include <stdlib.h>

#include <stdexcept>
#include <string>

#include "engine/io/file_ops.h"

namespace elbo {

class TempDir {
 public:
  TempDir() : TempDir(std::getenv("TMPDIR")) {}

  // In `base`, or in /tmp if that is null or not a directory.
  explicit TempDir(const char* base) {
    const bool usable = base != nullptr && is_directory(real_fs(), base);
    path_ = join_path(usable ? base : "/tmp", "elbo_test.XXXXXX");
    if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error("mkdtemp failed: " + path_);
  }
  ~TempDir() {
    try {
      remove_tree(real_fs(), path_);
    } catch (const Error&) {  // a directory left in /tmp is no reason to fail a test
    }
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(std::string_view name) const { return join_path(path_, name); }

 private:
  std::string path_;
};

}  // namespace elbo
