// CRC-32 (the polynomial of gzip and PNG) over memory.
//
// Finds every error burst of up to 32 bits, hence any changed byte; other damage slips through with
// probability 2^-32. It guards against accident, not against forgery.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace elbo {

// Continues from `previous`: crc32(b, crc32(a)) == crc32(a followed by b).
uint32_t crc32(std::span<const std::byte> bytes, uint32_t previous = 0);

std::string crc32_text(uint32_t value);  // eight lower-case hexadecimal digits

}  // namespace elbo
