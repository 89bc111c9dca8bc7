#include "apps/picture_file.h"

#include <cstdio>

#include "apps/output_path.h"

namespace elbo {

PictureFile::PictureFile(const Arguments& arguments, const std::string& fallback)
    : path_(output_path(arguments, "--out", fallback, {".png"})) {}

void PictureFile::write(const Picture& picture) const {
  write_png(real_fs(), path_, picture);
  std::printf("%s: %lld x %lld pixels\n", path_.c_str(), static_cast<long long>(picture.width),
              static_cast<long long>(picture.height));
}

}  // namespace elbo
