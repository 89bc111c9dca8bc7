#include "apps/image_sheet.h"

#include <cmath>

#include "engine/io/image_file.h"
#include "models/image_quality.h"

namespace elbo {
namespace {

int64_t columns_for(int64_t count) {
  return static_cast<int64_t>(std::ceil(std::sqrt(static_cast<double>(count))));
}

}  // namespace

Picture image_sheet(const std::vector<float>& images, const ImageShape& shape) {
  GridStyle style;
  style.columns = columns_for(std::ssize(images) / shape.size());
  style.padding = 0;
  style.scale = 1;
  style.background = 0;
  return image_grid(images, shape, style);
}

std::vector<float> images_of_sheet(const Picture& sheet, int64_t count, const ImageShape& shape) {
  const int64_t columns = columns_for(count);
  std::vector<float> images;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t left = i % columns * shape.width, top = i / columns * shape.height;
    for (int64_t y = 0; y < shape.height; ++y) {
      const int64_t begin = ((top + y) * sheet.width + left) * sheet.channels;
      for (int64_t at = begin; at < begin + shape.width * sheet.channels; ++at) {
        images.push_back(static_cast<float>(sheet.pixels[static_cast<size_t>(at)]) / 255.0f);
      }
    }
  }
  return images;
}

JpegSheet jpeg_as_good_as(const std::vector<float>& images, const ImageShape& shape,
                          double psnr_db) {
  const Picture sheet = image_sheet(images, shape);
  const auto at_quality = [&](int quality) {
    const std::string bytes = jpeg_bytes(sheet, quality);
    const Raster raster = decode_picture(std::as_bytes(std::span(bytes)), shape.channels);
    const Picture decoded{raster.width, raster.height, raster.channels, raster.pixels};
    const int64_t count = std::ssize(images) / shape.size();
    return JpegSheet{quality, bytes.size(), images_of_sheet(decoded, count, shape)};
  };
  int low = 1, high = 100;
  while (low < high) {
    const int middle = (low + high) / 2;
    const JpegSheet tried = at_quality(middle);
    if (image_quality(images, tried.images, shape.as_size()).psnr_db >= psnr_db) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return at_quality(low);
}

}  // namespace elbo
