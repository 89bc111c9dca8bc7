// Images side by side without a gap, as one picture: what general formats compress them as, so that a
// file's header is not paid for once per image.
#pragma once

#include <string>
#include <vector>

#include "apps/image_grid.h"

namespace elbo {

// About as wide as it is high; what is left over of the last row is black.
Picture image_sheet(const std::vector<float>& images, const ImageShape& shape);
// The first `count` images of a sheet, [count, H, W, C] in [0, 1].
std::vector<float> images_of_sheet(const Picture& sheet, int64_t count, const ImageShape& shape);

// `quality` 1 to 100.
std::string jpeg_bytes(const Picture& picture, int quality);

struct JpegSheet {
  int quality = 0;
  size_t bytes = 0;
  std::vector<float> images;
};
// The smallest JPEG whose images are as good as `psnr_db` (models/image_quality.h), or the best there is.
JpegSheet jpeg_as_good_as(const std::vector<float>& images, const ImageShape& shape,
                          double psnr_db);

}  // namespace elbo
