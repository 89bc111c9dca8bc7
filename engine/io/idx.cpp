#include "engine/io/idx.h"

#include <algorithm>
#include <cstdio>

#include "engine/io/blob.h"
#include "engine/io/gzip.h"

namespace elbo {
namespace {

constexpr size_t kMagicBytes = 4;
constexpr size_t kExtentBytes = 4;
constexpr size_t kMaxRank = 4;
constexpr std::byte kUnsignedByte{0x08};

struct Header {
  std::vector<int64_t> shape;
  uint64_t element_bytes = 0;
  size_t bytes() const { return kMagicBytes + kExtentBytes * shape.size(); }
};

template <class... Pieces>
[[noreturn]] void refuse(const std::string& file_name, const Pieces&... pieces) {
  throw_error(ErrorCode::data, file_name, ": ", pieces..., "; download it again");
}

uint32_t read_big_endian(std::span<const std::byte> bytes) {
  uint32_t value = 0;
  for (const std::byte b : bytes.first(kExtentBytes)) {
    value = value << 8 | std::to_integer<uint32_t>(b);
  }
  return value;
}

size_t check_magic(std::span<const std::byte> file, const std::string& file_name) {
  if (file.size() < kMagicBytes) {
    refuse(file_name, file.size(), " bytes, expected at least ", kMagicBytes, " of IDX header");
  }
  const size_t rank = std::to_integer<size_t>(file[3]);
  const bool known = file[0] == std::byte{0} && file[1] == std::byte{0} &&
                     file[2] == kUnsignedByte && rank >= 1 && rank <= kMaxRank;
  if (!known) {
    char found[16];
    std::snprintf(found, sizeof found, "0x%08x", read_big_endian(file));
    refuse(file_name, "starts with ", found,
           ", expected 0x00000801 to 0x00000804 (IDX of unsigned bytes)");
  }
  return rank;
}

Header parse_header(std::span<const std::byte> file, const std::string& file_name,
                    const IdxLimits& limits) {
  const size_t rank = check_magic(file, file_name);
  const size_t header_bytes = kMagicBytes + kExtentBytes * rank;
  if (file.size() < header_bytes) {
    refuse(file_name, file.size(), " bytes, expected at least ", header_bytes, " of IDX header");
  }
  Header header;
  header.element_bytes = 1;
  for (size_t i = 0; i < rank; ++i) {
    const uint32_t extent = read_big_endian(file.subspan(kMagicBytes + kExtentBytes * i));
    header.shape.push_back(extent);
    // Four extents below 2^32 can overflow 64 bits, and a zero can hide what came before it.
    if (__builtin_mul_overflow(header.element_bytes, uint64_t{extent}, &header.element_bytes)) {
      refuse(file_name, "has a shape whose size exceeds 64 bits");
    }
  }
  if (header.element_bytes > limits.element_bytes) {
    refuse(file_name, "declares ", header.element_bytes, " bytes for shape ",
           shape_text(header.shape), ", expected at most ", limits.element_bytes);
  }
  return header;
}

}  // namespace

IdxView parse_idx(std::span<const std::byte> file, const std::string& file_name,
                  const IdxLimits& limits) {
  Header header = parse_header(file, file_name, limits);
  const auto elements = file.subspan(header.bytes());
  if (elements.size() != header.element_bytes) {
    refuse(file_name, elements.size(), " bytes after the header, expected ", header.element_bytes,
           " for shape ", shape_text(header.shape));
  }
  return {std::move(header.shape), elements};
}

std::vector<std::byte> gunzip_idx(std::vector<std::byte> file, const std::string& file_name,
                                  const IdxLimits& limits) {
  if (!is_gzip(file)) return file;
  constexpr size_t kLongestHeader = kMagicBytes + kExtentBytes * kMaxRank;
  return gunzip(file, file_name, kLongestHeader, [&](std::span<const std::byte> head) {
    const Header header = parse_header(head, file_name, limits);
    return header.bytes() + header.element_bytes;
  });
}

}  // namespace elbo
