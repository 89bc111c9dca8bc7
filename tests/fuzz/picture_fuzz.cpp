// libFuzzer target: a picture file is refused with elbo::Error or decoded to the size it declares.
#include <cstdint>
#include <cstdlib>

#include "engine/io/image_file.h"
#include "kernels/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr int64_t kMostPixels = 1 << 20;  // larger ones only cost the fuzzer time
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    const elbo::PictureInfo info = elbo::inspect_picture(bytes);
    if (info.height * info.width > kMostPixels) return 0;
    const elbo::Raster raster = elbo::decode_picture(bytes, 3);
    if (static_cast<int64_t>(raster.pixels.size()) != 3 * info.height * info.width) std::abort();
  } catch (const elbo::Error& error) {
    if (error.code() != elbo::ErrorCode::data) std::abort();
  }
  return 0;
}
