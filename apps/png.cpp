// The only file that compiles stb_image_write.
#include <zlib.h>

#include <cstdlib>
#include <memory>

#include "apps/image_grid.h"
#include "apps/image_sheet.h"

namespace {

// stb's own compressor is slower and its output half as large again. It frees the result with free().
unsigned char* compress_with_zlib(unsigned char* data, int size, int* out_size, int quality) {
  uLongf bound = compressBound(static_cast<uLong>(size));
  auto* out = static_cast<unsigned char*>(std::malloc(bound));
  if (out != nullptr && compress2(out, &bound, data, static_cast<uLong>(size), quality) == Z_OK) {
    *out_size = static_cast<int>(bound);
    return out;
  }
  std::free(out);
  return nullptr;
}

}  // namespace

#define STBIW_ZLIB_COMPRESS compress_with_zlib
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb_image_write.h>

namespace elbo {

void check_png_size(const Picture& picture) {
  constexpr int64_t kLargest = int64_t{1} << 30;  // stb and zlib count in int
  const int64_t row_bytes = picture.width * picture.channels;
  ELBO_CHECK(picture.width > 0 && picture.height > 0 && row_bytes < kLargest &&
                 picture.height < kLargest && row_bytes * picture.height < kLargest,
             "a picture of ", picture.width, " x ", picture.height,
             " pixels is too large for a PNG; show fewer images");
}

std::string png_bytes(const Picture& picture) {
  check_png_size(picture);
  const int64_t row_bytes = picture.width * picture.channels;
  int size = 0;
  const std::unique_ptr<unsigned char, decltype(&std::free)> bytes(
      stbi_write_png_to_mem(picture.pixels.data(), static_cast<int>(row_bytes),
                            static_cast<int>(picture.width), static_cast<int>(picture.height),
                            static_cast<int>(picture.channels), &size),
      std::free);
  ELBO_CHECK(bytes != nullptr, "no memory to encode a picture of ", picture.width, " x ",
             picture.height, " pixels");
  return {reinterpret_cast<const char*>(bytes.get()), static_cast<size_t>(size)};
}

std::string jpeg_bytes(const Picture& picture, int quality) {
  check_png_size(picture);
  std::string bytes;
  const auto append = [](void* context, void* data, int size) {
    static_cast<std::string*>(context)->append(static_cast<const char*>(data),
                                               static_cast<size_t>(size));
  };
  const int written = stbi_write_jpg_to_func(
      append, &bytes, static_cast<int>(picture.width), static_cast<int>(picture.height),
      static_cast<int>(picture.channels), picture.pixels.data(), quality);
  ELBO_CHECK(written != 0, "a picture of ", picture.width, " x ", picture.height,
             " pixels cannot be written as JPEG");
  return bytes;
}

}  // namespace elbo
