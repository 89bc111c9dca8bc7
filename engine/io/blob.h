// Named arrays as they lie in files: what a tensor is to the reader and writer of a format.
//
// A blob is a view; the bytes belong to someone else (an arena, or the buffer a file was read
// into). Bytes are little-endian and row-major, and may lie at any alignment: copy them with
// memcpy, do not cast.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace elbo {

// In the order in which the safetensors reference writer ranks them (larger alignment last).
enum class StoredType { u8, f16, bf16, i32, f32, f64, i64 };

size_t bytes_per_element(StoredType type);
std::string_view stored_type_name(StoredType type);  // "U8", "F16", "BF16", ...
std::optional<StoredType> parse_stored_type(std::string_view name);

struct NamedBlob {
  std::string name;
  StoredType type = StoredType::f32;
  std::vector<int64_t> shape;  // empty for a scalar
  std::span<const std::byte> bytes;
};

std::string shape_text(std::span<const int64_t> shape);  // "[400, 784]"

// Text from a file, made fit for a one-line message: quoted, escaped, cut at 80 characters.
// (Not called `quoted`: argument-dependent lookup would find std::quoted, which does not escape.)
std::string in_quotes(std::string_view text);

// A message that may hold raw names of files and flags, made fit to be one line: control characters
// become \x0a and the like. All else stays, so that a path can be copied from it.
std::string one_line(std::string_view message);

}  // namespace elbo
