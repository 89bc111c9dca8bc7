#include "engine/io/npy_write.h"

#include <bit>

namespace elbo {
namespace {

static_assert(std::endian::native == std::endian::little, "elements are written as they lie");

constexpr size_t kAlignment = 64;  // of the elements, as NumPy itself writes
constexpr size_t kPrefix = 10;     // magic, version and the header's length

std::string header(const std::string& type, const std::vector<int64_t>& shape) {
  std::string text = "{'descr': '" + type + "', 'fortran_order': False, 'shape': (";
  for (size_t i = 0; i < shape.size(); ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  }
  text += shape.size() == 1 ? ",), }" : "), }";
  const size_t used = kPrefix + text.size() + 1;  // with the line's end
  text.append((kAlignment - used % kAlignment) % kAlignment, ' ');
  text += '\n';
  std::string prefix = "\x93NUMPY";
  prefix +=
      {'\x01', '\x00', static_cast<char>(text.size() & 0xff), static_cast<char>(text.size() >> 8)};
  return prefix + text;
}

void write_array(Fs& fs, const std::string& path, const std::string& type,
                 std::span<const std::byte> bytes, size_t count,
                 const std::vector<int64_t>& shape) {
  int64_t expected = 1;
  for (const int64_t extent : shape) expected *= extent;
  ELBO_CHECK(static_cast<int64_t>(count) == expected, path, ": ", count,
             " elements do not fill a shape of ", expected);
  replace_file_with(fs, path, [&](FileWriter& file) {
    file.write(header(type, shape));
    file.write(bytes);
  });
}

}  // namespace

void write_npy(Fs& fs, const std::string& path, std::span<const float> elements,
               const std::vector<int64_t>& shape) {
  write_array(fs, path, "<f4", std::as_bytes(elements), elements.size(), shape);
}

void write_npy(Fs& fs, const std::string& path, std::span<const uint8_t> elements,
               const std::vector<int64_t>& shape) {
  write_array(fs, path, "|u1", std::as_bytes(elements), elements.size(), shape);
}

void write_npy(Fs& fs, const std::string& path, std::span<const int32_t> elements,
               const std::vector<int64_t>& shape) {
  write_array(fs, path, "<i4", std::as_bytes(elements), elements.size(), shape);
}

}  // namespace elbo
