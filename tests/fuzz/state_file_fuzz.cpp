// libFuzzer target: state.json of a checkpoint, with a checksum that fits, so that the damage gets
// past it.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "engine/io/crc32.h"
#include "engine/io/run_state.h"
#include "kernels/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const std::string body(reinterpret_cast<const char*>(data), size);
  const std::string text =
      "{\n\"crc32\": \"" + elbo::crc32_text(elbo::crc32(bytes)) + "\",\n" + body;
  try {
    elbo::parse_state_file(text, "fuzz");
  } catch (const elbo::Error& error) {
    if (error.code() != elbo::ErrorCode::data) std::abort();
  }
  return 0;
}
