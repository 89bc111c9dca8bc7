#include "apps/picture_file.h"

#include <cstdio>

#include "engine/io/blob.h"

namespace elbo {

PictureFile::PictureFile(const Arguments& arguments, const std::string& fallback)
    : path_(arguments.text("--out", join_path(arguments.text("--run"), fallback))) {
  if (!path_.ends_with(".png")) {
    throw_error(ErrorCode::usage, "--out: found ", in_quotes(path_),
                ", expected the name of a .png file");
  }
  const std::string directory = parent_path(path_);
  if (arguments.has("--out") && !directory.empty() && !exists(real_fs(), directory)) {
    throw_error(ErrorCode::usage, "--out ", path_, ": there is no directory ", directory);
  }
}

void PictureFile::write(const Picture& picture) const {
  write_png(real_fs(), path_, picture);
  std::printf("%s: %lld x %lld pixels\n", path_.c_str(), static_cast<long long>(picture.width),
              static_cast<long long>(picture.height));
}

}  // namespace elbo
