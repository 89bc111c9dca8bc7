#include "engine/io/npy.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "engine/io/blob.h"
#include "kernels/error.h"

namespace elbo {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kLongestHeader = 10000;  // as NumPy itself: checked before it is read
constexpr size_t kMostDimensions = 8;

template <class... Pieces>
[[noreturn]] void refuse(const std::string& file_name, const Pieces&... pieces) {
  throw_error(ErrorCode::data, file_name, ": ", pieces..., "; save it again with numpy.save");
}

// The header is a Python literal. This reads the one form that NumPy writes, with any white space and
// its three keys in any order.
class Header {
 public:
  Header(std::string_view text, const std::string& file_name)
      : text_(text), file_name_(file_name) {}

  void parse(NpyView& view) {
    bool has_type = false, has_order = false, has_shape = false;
    expect('{');
    while (!accept('}')) {
      const std::string key = quoted();
      expect(':');
      if (key == "descr" && !has_type) {
        view.type = quoted();
        has_type = true;
      } else if (key == "fortran_order" && !has_order) {
        if (word() == "True") {
          throw_error(ErrorCode::data, file_name_,
                      ": is in Fortran order, expected C order; save "
                      "numpy.ascontiguousarray(array)");
        }
        has_order = true;
      } else if (key == "shape" && !has_shape) {
        view.shape = tuple();
        has_shape = true;
      } else {
        damaged();
      }
      if (!accept(',') && !sees('}')) damaged();
    }
    skip_blanks();
    if (at_ != text_.size() || !has_type || !has_order || !has_shape) damaged();
  }

 private:
  [[noreturn]] void damaged() const {
    refuse(file_name_, "has a header that cannot be read at its byte ", at_, ": ",
           in_quotes(text_));
  }
  void skip_blanks() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  bool sees(char c) {
    skip_blanks();
    return at_ < text_.size() && text_[at_] == c;
  }
  bool accept(char c) {
    if (!sees(c)) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) damaged();
  }
  std::string quoted() {
    const char quote = sees('"') ? '"' : '\'';
    expect(quote);
    const size_t end = text_.find(quote, at_);
    if (end == std::string_view::npos) damaged();
    const std::string value(text_.substr(at_, end - at_));
    at_ = end + 1;
    return value;
  }
  std::string word() {
    skip_blanks();
    for (const char* value : {"True", "False"}) {
      if (text_.substr(at_).starts_with(value)) {
        at_ += std::strlen(value);
        return value;
      }
    }
    damaged();
  }
  int64_t number() {
    skip_blanks();
    int64_t value = -1;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') {
      value = std::max<int64_t>(value, 0);
      if (__builtin_mul_overflow(value, int64_t{10}, &value) ||
          __builtin_add_overflow(value, int64_t{text_[at_] - '0'}, &value)) {
        refuse(file_name_, "has a shape whose size exceeds 64 bits");
      }
      ++at_;
    }
    if (value < 0) damaged();
    return value;
  }
  std::vector<int64_t> tuple() {
    std::vector<int64_t> values;
    expect('(');
    while (!accept(')')) {
      if (values.size() == kMostDimensions) {
        refuse(file_name_, "has more than ", kMostDimensions, " dimensions");
      }
      values.push_back(number());
      if (!accept(',') && !sees(')')) damaged();
    }
    return values;
  }

  std::string_view text_;
  const std::string& file_name_;
  size_t at_ = 0;
};

void parse_type(NpyView& view, const std::string& file_name) {
  const std::string& type = view.type;
  const bool known_order = type.size() == 3 && std::string_view("<>|").find(type[0]) < 3;
  const bool known_kind = type.size() == 3 && std::string_view("buif").find(type[1]) < 4;
  const size_t bytes = type.size() == 3 ? static_cast<size_t>(type[2] - '0') : 0;
  const bool whole = known_kind && type[1] != 'f' && type[1] != 'b';
  const bool fits = (whole && (bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8)) ||
                    (known_kind && type[1] == 'b' && bytes == 1) ||
                    (known_kind && type[1] == 'f' && (bytes == 4 || bytes == 8));
  if (!known_order || !fits || (type[0] == '|' && bytes != 1)) {
    refuse(file_name, "has elements of type ", in_quotes(type),
           ", expected numbers such as '|u1' or '<f4' (array.astype('f4'))");
  }
  view.big_endian = type[0] == '>';
  view.kind = type[1];
  view.element_bytes = bytes;
}

template <class T>
T load(const NpyView& view, int64_t i) {
  std::byte bytes[sizeof(T)];
  std::memcpy(bytes, view.elements.data() + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
  if (view.big_endian) std::reverse(std::begin(bytes), std::end(bytes));
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

}  // namespace

int64_t NpyView::integer(int64_t i) const {
  const bool is_signed = kind == 'i';
  switch (element_bytes) {
    case 1:
      return is_signed ? load<int8_t>(*this, i) : load<uint8_t>(*this, i);
    case 2:
      return is_signed ? load<int16_t>(*this, i) : load<uint16_t>(*this, i);
    case 4:
      return is_signed ? load<int32_t>(*this, i) : int64_t{load<uint32_t>(*this, i)};
    default:
      return load<int64_t>(*this, i);
  }
}

double NpyView::real(int64_t i) const {
  if (kind != 'f') return static_cast<double>(integer(i));
  return element_bytes == 4 ? load<float>(*this, i) : load<double>(*this, i);
}

NpyView parse_npy(std::span<const std::byte> file, const std::string& file_name) {
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  if (!text.starts_with(kMagic)) refuse(file_name, "does not start as a .npy file does");
  if (file.size() < kMagic.size() + 2) refuse(file_name, "ends within its header");
  const auto major = std::to_integer<unsigned>(file[6]);
  if (major < 1 || major > 3) {
    refuse(file_name, "has format version ", major, ", expected 1 to 3");
  }
  const size_t length_bytes = major == 1 ? 2 : 4, begin = kMagic.size() + 2 + length_bytes;
  if (file.size() < begin) refuse(file_name, "ends within its header");
  uint32_t length = 0;
  std::memcpy(&length, file.data() + kMagic.size() + 2, length_bytes);
  if (length > kLongestHeader) {
    refuse(file_name, "declares a header of ", length, " bytes, expected at most ", kLongestHeader);
  }
  if (length > file.size() - begin) refuse(file_name, "ends within its header");
  NpyView view;
  Header(text.substr(begin, length), file_name).parse(view);
  parse_type(view, file_name);
  uint64_t bytes = view.element_bytes;
  for (const int64_t extent : view.shape) {
    if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(extent), &bytes)) {
      refuse(file_name, "has a shape whose size exceeds 64 bits");
    }
  }
  view.elements = file.subspan(begin + length);
  if (view.elements.size() != bytes) {
    refuse(file_name, "has ", view.elements.size(), " bytes of elements, expected ", bytes,
           " for shape ", shape_text(view.shape), " of ", in_quotes(view.type));
  }
  return view;
}

}  // namespace elbo
