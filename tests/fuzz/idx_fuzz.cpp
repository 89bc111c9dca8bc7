// libFuzzer target: plain or gzip IDX is refused with elbo::Error or read within its bounds.
#include <cstdint>
#include <cstdlib>

#include "engine/io/idx.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static volatile unsigned sink = 0;
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    const auto plain = elbo::gunzip_idx({bytes.begin(), bytes.end()}, "fuzz");
    const elbo::IdxView view = elbo::parse_idx(plain, "fuzz");
    for (const std::byte b : view.elements) sink = sink + std::to_integer<unsigned>(b);
  } catch (const elbo::Error& error) {
    if (error.code() != elbo::ErrorCode::data) std::abort();
  }
  return 0;
}
