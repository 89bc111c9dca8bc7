// The PNG that --out names, checked before the work begins.
#pragma once

#include <string>

#include "apps/command_line.h"
#include "apps/image_grid.h"

namespace elbo {

class PictureFile {
 public:
  // Without --out, `fallback` in the directory of --run.
  PictureFile(const Arguments& arguments, const std::string& fallback);
  explicit PictureFile(std::string path) : path_(std::move(path)) {}

  void write(const Picture& picture) const;  // and says so on stdout

 private:
  std::string path_;
};

}  // namespace elbo
