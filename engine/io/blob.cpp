#include "engine/io/blob.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>

namespace elbo {
namespace {

struct TypeRow {
  StoredType type;
  std::string_view name;
  size_t bytes;
};

constexpr std::array<TypeRow, 7> kTypes = {{{StoredType::u8, "U8", 1},
                                            {StoredType::f16, "F16", 2},
                                            {StoredType::bf16, "BF16", 2},
                                            {StoredType::i32, "I32", 4},
                                            {StoredType::f32, "F32", 4},
                                            {StoredType::f64, "F64", 8},
                                            {StoredType::i64, "I64", 8}}};

constexpr size_t kMaxQuoted = 80;  // longer names would hide the rest of the message

}  // namespace

size_t bytes_per_element(StoredType type) { return kTypes[static_cast<size_t>(type)].bytes; }

std::string_view stored_type_name(StoredType type) {
  return kTypes[static_cast<size_t>(type)].name;
}

std::optional<StoredType> parse_stored_type(std::string_view name) {
  for (const TypeRow& row : kTypes) {
    if (row.name == name) return row.type;
  }
  return std::nullopt;
}

std::string shape_text(std::span<const int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

std::string in_quotes(std::string_view text) {
  std::string result = "\"";
  for (const char c : text.substr(0, kMaxQuoted)) {
    const bool plain = c >= ' ' && c <= '~' && c != '"' && c != '\\';
    result += plain ? std::string(1, c) : fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  }
  return result + (text.size() > kMaxQuoted ? "...\"" : "\"");
}

std::string one_line(std::string_view message) {
  std::string result;
  for (const char c : message) {
    const auto byte = static_cast<unsigned char>(c);
    const bool control = byte < ' ' || byte == 0x7f;
    result += control ? fmt::format("\\x{:02x}", byte) : std::string(1, c);
  }
  return result;
}

}  // namespace elbo
