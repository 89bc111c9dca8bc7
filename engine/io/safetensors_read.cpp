// Reading guide: parse_safetensors cuts the file into header and data, HeaderReader turns the JSON
// events of nlohmann's SAX parser into entries (it is the grammar), place_tensors checks that the
// entries tile the data exactly.
//
// Invariants: no allocation depends on a number from the file before that number was compared with
// the file's size; recursion depth is fixed, since the SAX parser keeps its own stack and
// HeaderReader refuses whatever is nested deeper than the grammar.
#include <algorithm>
#include <cstring>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>

#include "engine/io/safetensors.h"

namespace elbo {
namespace {

constexpr size_t kLengthBytes = 8;

template <class... Pieces>
[[noreturn]] void refuse(const std::string& file_name, const Pieces&... pieces) {
  throw_error(ErrorCode::data, file_name, ": ", pieces...,
              "; the file is damaged or not safetensors, copy it again");
}

struct Entry {
  NamedBlob blob;
  uint64_t begin = 0;
  uint64_t end = 0;
};

// Walks the header and tells how far the parser has got, for messages.
class CountingIterator {
 public:
  using iterator_category = std::forward_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, const char** furthest) : at_(at), furthest_(furthest) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    *furthest_ = ++at_;
    return *this;
  }
  CountingIterator operator++(int) {
    CountingIterator before = *this;
    ++*this;
    return before;
  }
  bool operator==(const CountingIterator& other) const { return at_ == other.at_; }

 private:
  const char* at_;
  const char** furthest_;
};

class HeaderReader {
 public:
  HeaderReader(std::string_view json, const std::string& file_name, const SafetensorsLimits& limits)
      : json_(json), file_name_(file_name), limits_(limits), furthest_(json.data()) {}

  void read() {
    const char* end = json_.data() + json_.size();
    nlohmann::json::sax_parse(CountingIterator(json_.data(), &furthest_),
                              CountingIterator(end, &furthest_), this);
  }

  Metadata metadata;
  std::vector<Entry> entries;

  // Events of nlohmann's SAX interface. Each returns true or throws.
  bool start_object(size_t) {
    if (expect_ == Expect::header) return become(Expect::name);
    if (expect_ == Expect::tensor) return become(Expect::field);
    if (expect_ == Expect::metadata) return become(Expect::metadata_key);
    refuse_here("an object");
  }

  bool end_object() {
    if (expect_ == Expect::name) return become(Expect::nothing);
    if (expect_ == Expect::metadata_key) return become(Expect::name);
    const bool complete = has_dtype_ && has_shape_ && has_offsets_;
    if (!complete)
      refuse(file_name_, "tensor ", in_quotes(entries.back().blob.name), " lacks ",
             !has_dtype_   ? "dtype"
             : !has_shape_ ? "shape"
                           : "data_offsets");
    return become(Expect::name);
  }

  bool key(std::string& key) {
    if (expect_ == Expect::name) return start_entry(key);
    if (expect_ == Expect::metadata_key) {
      if (!metadata.try_emplace(key).second) refuse_twice(key);
      metadata_key_ = key;
      return become(Expect::metadata_value);
    }
    if (key == "dtype") return start_field(has_dtype_, key, Expect::dtype);
    if (key == "shape") return start_field(has_shape_, key, Expect::shape);
    if (key == "data_offsets") return start_field(has_offsets_, key, Expect::offsets);
    refuse(file_name_, "tensor ", in_quotes(entries.back().blob.name), " has the key ",
           in_quotes(key), ", expected dtype, shape or data_offsets");
  }

  bool string(std::string& text) {
    if (expect_ == Expect::metadata_value) {
      metadata[metadata_key_] = text;
      return become(Expect::metadata_key);
    }
    if (expect_ != Expect::dtype) refuse_here("a string");
    const std::optional<StoredType> type = parse_stored_type(text);
    if (!type) {
      refuse(file_name_, "tensor ", in_quotes(entries.back().blob.name), " has dtype ",
             in_quotes(text), ", expected one of U8 F16 BF16 I32 F32 F64 I64");
    }
    entries.back().blob.type = *type;
    return become(Expect::field);
  }

  bool start_array(size_t) {
    if (expect_ == Expect::shape) return become(Expect::extent);
    if (expect_ == Expect::offsets) return become(Expect::begin);
    refuse_here("an array");
  }

  bool end_array() {
    if (expect_ == Expect::begin || expect_ == Expect::end) refuse_here("the end of the array");
    return become(Expect::field);
  }

  bool number_unsigned(uint64_t number) {
    switch (expect_) {
      case Expect::extent:
        return add_extent(number);
      case Expect::begin:
        entries.back().begin = number;
        return become(Expect::end);
      case Expect::end:
        entries.back().end = number;
        return become(Expect::no_more_offsets);
      default:
        refuse_here("a number");
    }
  }

  bool null() { refuse_here("null"); }
  bool boolean(bool) { refuse_here("a boolean"); }
  bool number_integer(int64_t) { refuse_here("a negative number"); }
  bool number_float(double, const std::string&) { refuse_here("a fraction or a huge number"); }
  bool binary(std::vector<uint8_t>&) { refuse_here("binary data"); }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception&) {
    refuse(file_name_, "the header is not JSON near byte ", position());
  }

 private:
  enum class Expect {
    header,
    name,
    metadata,
    metadata_key,
    metadata_value,
    tensor,
    field,
    dtype,
    shape,
    extent,
    offsets,
    begin,
    end,
    no_more_offsets,
    nothing
  };

  bool become(Expect next) {
    expect_ = next;
    return true;
  }

  bool start_entry(const std::string& name) {
    if (name == "__metadata__") {
      if (std::exchange(has_metadata_, true)) refuse_twice(name);
      return become(Expect::metadata);
    }
    if (entries.size() == limits_.tensors) {
      refuse(file_name_, "more than ", limits_.tensors, " tensors");
    }
    entries.emplace_back().blob.name = name;
    has_dtype_ = has_shape_ = has_offsets_ = false;
    return become(Expect::tensor);
  }

  bool start_field(bool& seen, const std::string& key, Expect next) {
    if (std::exchange(seen, true)) refuse_twice(key);
    return become(next);
  }

  bool add_extent(uint64_t extent) {
    NamedBlob& blob = entries.back().blob;
    if (blob.shape.size() == limits_.rank) {
      refuse(file_name_, "tensor ", in_quotes(blob.name), " has more than ", limits_.rank,
             " dimensions");
    }
    if (extent > static_cast<uint64_t>(INT64_MAX)) refuse_here("a number beyond 2^63");
    blob.shape.push_back(static_cast<int64_t>(extent));
    return true;
  }

  [[noreturn]] void refuse_twice(const std::string& key) const {
    refuse(file_name_, "the key ", in_quotes(key), " occurs twice, near byte ", position());
  }

  [[noreturn]] void refuse_here(std::string_view found) const {
    static constexpr std::string_view kExpected[] = {"an object",
                                                     "a tensor name",
                                                     "an object of strings",
                                                     "a key",
                                                     "a string",
                                                     "an object",
                                                     "dtype, shape or data_offsets",
                                                     "a string",
                                                     "an array of numbers",
                                                     "a whole number",
                                                     "an array of two numbers",
                                                     "a whole number",
                                                     "a whole number",
                                                     "the end of the array",
                                                     "the end of the header"};
    refuse(file_name_, "the header has ", found, " near byte ", position(), ", expected ",
           kExpected[static_cast<size_t>(expect_)]);
  }

  size_t position() const { return kLengthBytes + static_cast<size_t>(furthest_ - json_.data()); }

  std::string_view json_;
  const std::string& file_name_;
  const SafetensorsLimits& limits_;
  const char* furthest_;
  Expect expect_ = Expect::header;
  std::string metadata_key_;
  bool has_metadata_ = false;
  bool has_dtype_ = false;
  bool has_shape_ = false;
  bool has_offsets_ = false;
};

// The header's length, or a refusal.
uint64_t header_length(std::span<const std::byte> file, const std::string& file_name,
                       const SafetensorsLimits& limits) {
  if (file.size() < kLengthBytes) {
    refuse(file_name, file.size(), " bytes, expected at least ", kLengthBytes);
  }
  uint64_t length = 0;
  std::memcpy(&length, file.data(), kLengthBytes);
  if (length > limits.header_bytes) {
    refuse(file_name, "declares a header of ", length, " bytes, expected at most ",
           limits.header_bytes);
  }
  if (length > file.size() - kLengthBytes) {
    refuse(file_name, "declares a header of ", length, " bytes, but only ",
           file.size() - kLengthBytes, " follow");
  }
  return length;
}

uint64_t declared_bytes(const NamedBlob& blob, const std::string& file_name) {
  uint64_t bytes = bytes_per_element(blob.type);
  for (const int64_t extent : blob.shape) {
    if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(extent), &bytes)) {
      refuse(file_name, "tensor ", in_quotes(blob.name), " has shape ", shape_text(blob.shape),
             ", whose size exceeds 64 bits");
    }
  }
  return bytes;
}

// Checks that the tensors, in the order of their offsets, tile `data` without hole or overlap.
void place_tensors(std::vector<Entry>& entries, std::span<const std::byte> data,
                   const std::string& file_name) {
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  uint64_t covered = 0;
  for (Entry& entry : entries) {
    const auto describe = [&] { return concat("tensor ", in_quotes(entry.blob.name)); };
    if (entry.begin != covered) {
      refuse(file_name, describe(), " begins at offset ", entry.begin, ", expected ", covered);
    }
    const uint64_t expected = declared_bytes(entry.blob, file_name);
    if (entry.end < entry.begin || entry.end - entry.begin != expected) {
      refuse(file_name, describe(), " has offsets ", entry.begin, " to ", entry.end, ", expected ",
             expected, " bytes for ", stored_type_name(entry.blob.type), " ",
             shape_text(entry.blob.shape));
    }
    if (entry.end > data.size()) {
      refuse(file_name, describe(), " ends at offset ", entry.end, ", but only ", data.size(),
             " bytes of data follow the header");
    }
    entry.blob.bytes = data.subspan(entry.begin, expected);
    covered = entry.end;
  }
  if (covered != data.size()) {
    refuse(file_name, data.size() - covered, " bytes after the last tensor, expected none");
  }
}

}  // namespace

const NamedBlob* SafetensorsView::find(std::string_view name) const {
  const auto at =
      std::lower_bound(tensors.begin(), tensors.end(), name,
                       [](const NamedBlob& a, std::string_view b) { return a.name < b; });
  return at != tensors.end() && at->name == name ? &*at : nullptr;
}

SafetensorsView parse_safetensors(std::span<const std::byte> file, const std::string& file_name,
                                  const SafetensorsLimits& limits) {
  const uint64_t length = header_length(file, file_name, limits);
  const std::string_view json(reinterpret_cast<const char*>(file.data()) + kLengthBytes, length);
  if (json.empty() || json.front() != '{') {
    refuse(file_name, "the header does not start with {");
  }
  // The JSON parser takes a zero byte for the end of its input and would ignore what follows.
  if (const size_t zero = json.find('\0'); zero != std::string_view::npos) {
    refuse(file_name, "the header has a zero byte at ", kLengthBytes + zero);
  }
  HeaderReader header(json, file_name, limits);
  header.read();
  place_tensors(header.entries, file.subspan(kLengthBytes + length), file_name);

  SafetensorsView view{std::move(header.metadata), {}};
  view.tensors.reserve(header.entries.size());
  for (Entry& entry : header.entries) view.tensors.push_back(std::move(entry.blob));
  std::sort(view.tensors.begin(), view.tensors.end(),
            [](const NamedBlob& a, const NamedBlob& b) { return a.name < b.name; });
  const auto twin =
      std::adjacent_find(view.tensors.begin(), view.tensors.end(),
                         [](const NamedBlob& a, const NamedBlob& b) { return a.name == b.name; });
  if (twin != view.tensors.end()) {
    refuse(file_name, "two tensors are named ", in_quotes(twin->name));
  }
  return view;
}

SafetensorsFile load_safetensors(Fs& fs, const std::string& path, const SafetensorsLimits& limits) {
  SafetensorsFile file;
  file.bytes = read_file(fs, path, limits.file_bytes);
  file.view = parse_safetensors(file.bytes, path, limits);
  return file;
}

}  // namespace elbo
