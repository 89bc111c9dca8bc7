// Systematic damage to a file: the inputs of the exhaustive parser tests.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace elbo {

// Around every place where a size or a sign can turn over.
inline constexpr std::array<uint64_t, 12> kBoundaries64 = {0,
                                                           1,
                                                           7,
                                                           8,
                                                           255,
                                                           uint64_t{1} << 31,
                                                           (uint64_t{1} << 32) - 1,
                                                           uint64_t{1} << 32,
                                                           uint64_t{1} << 53,
                                                           (uint64_t{1} << 63) - 1,
                                                           uint64_t{1} << 63,
                                                           ~uint64_t{0}};
inline constexpr std::array<uint32_t, 12> kBoundaries32 = {
    0, 1, 2, 127, 128, 255, 256, 65535, 65536, 0x7fffffff, 0x80000000, 0xffffffff};

// Every truncation.
template <class Visit>
void for_each_truncation(const std::string& file, Visit visit) {
  for (size_t length = 0; length < file.size(); ++length) visit(file.substr(0, length));
}

// Every byte set to 5 values that stand for typical damage.
template <class Visit>
void for_each_changed_byte(const std::string& file, Visit visit) {
  for (size_t i = 0; i < file.size(); ++i) {
    const auto old = static_cast<unsigned char>(file[i]);
    for (const int value : {0x00, 0xff, 0x80, old ^ 0x01, old ^ 0x20}) {
      std::string changed = file;
      changed[i] = static_cast<char>(value);
      visit(changed);
    }
  }
}

// Text of `value`, little- or big-endian, in `bytes` bytes.
inline std::string little_endian(uint64_t value, size_t bytes = 8) {
  std::string text(bytes, '\0');
  std::memcpy(text.data(), &value, bytes);
  return text;
}
inline std::string big_endian(uint64_t value, size_t bytes = 4) {
  const std::string text = little_endian(value, bytes);
  return {text.rbegin(), text.rend()};
}

}  // namespace elbo
