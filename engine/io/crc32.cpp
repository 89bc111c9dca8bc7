#include "engine/io/crc32.h"

#include <fmt/format.h>
#include <zlib.h>

namespace elbo {

uint32_t crc32(std::span<const std::byte> bytes, uint32_t previous) {
  if (bytes.empty()) return previous;  // zlib answers 0 for a null pointer, whatever came before
  return static_cast<uint32_t>(
      ::crc32_z(previous, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

std::string crc32_text(uint32_t value) { return fmt::format("{:08x}", value); }

}  // namespace elbo
