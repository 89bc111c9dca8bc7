// NumPy's .npy format.
//
//   \x93NUMPY major minor | header length (u16, from 2.0 on u32) | header | elements to the end
//   header: {'descr': '|u1', 'fortran_order': False, 'shape': (60000, 28, 28), } and white space
//
// Read here: whole and real numbers of 1 to 8 bytes in either byte order, C order, rank at most 8.
// Objects, structures and text are refused, so that nothing in a file is ever executed.
// Errors    ErrorCode::data: file, found, expected, what to do
// Source    numpy.org/doc/stable/reference/generated/numpy.lib.format.html
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace elbo {

struct NpyView {
  std::string type;  // as the file says: "|u1", "<f4"
  char kind = 'u';   // 'b' bool, 'u' unsigned, 'i' signed, 'f' real
  size_t element_bytes = 1;
  bool big_endian = false;
  std::vector<int64_t> shape;
  std::span<const std::byte> elements;

  int64_t count() const { return static_cast<int64_t>(elements.size() / element_bytes); }
  double real(int64_t i) const;      // any kind
  int64_t integer(int64_t i) const;  // kinds 'b', 'u' and 'i'; u64 beyond i64 becomes negative
};

// `file_name` is for messages.
NpyView parse_npy(std::span<const std::byte> file, const std::string& file_name);

}  // namespace elbo
