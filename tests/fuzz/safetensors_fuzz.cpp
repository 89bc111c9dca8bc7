// libFuzzer target: any bytes are either refused with elbo::Error or give tensors inside the input.
#include <cstdint>
#include <cstdlib>

#include "engine/io/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static volatile unsigned sink = 0;
  try {
    const auto view = elbo::parse_safetensors(std::as_bytes(std::span(data, size)), "fuzz");
    for (const elbo::NamedBlob& tensor : view.tensors) {
      if (view.find(tensor.name) == nullptr) std::abort();
      for (const std::byte b : tensor.bytes) sink = sink + std::to_integer<unsigned>(b);
    }
  } catch (const elbo::Error& error) {
    if (error.code() != elbo::ErrorCode::data) std::abort();
  }
  return 0;
}
