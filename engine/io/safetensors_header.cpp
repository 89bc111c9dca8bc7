// Reading guide: HeaderReader is the grammar. `expect_` says what may come next; each event of
// nlohmann's SAX parser checks it, stores what it brings, and sets what may follow.
//
// Invariant: recursion depth is fixed, since the SAX parser keeps its own stack and HeaderReader
// refuses whatever is nested deeper than the grammar.
#include "engine/io/safetensors_header.h"

#include <cstddef>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

namespace elbo {
namespace {

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

  SafetensorsHeader read() {
    const char* end = json_.data() + json_.size();
    nlohmann::json::sax_parse(CountingIterator(json_.data(), &furthest_),
                              CountingIterator(end, &furthest_), this);
    return std::move(header_);
  }

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
      refuse_safetensors(file_name_, "tensor ", in_quotes(header_.entries.back().blob.name),
                         " lacks ",
                         !has_dtype_   ? "dtype"
                         : !has_shape_ ? "shape"
                                       : "data_offsets");
    return become(Expect::name);
  }

  bool key(std::string& key) {
    if (expect_ == Expect::name) return start_entry(key);
    if (expect_ == Expect::metadata_key) {
      if (!header_.metadata.try_emplace(key).second) refuse_twice(key);
      metadata_key_ = key;
      return become(Expect::metadata_value);
    }
    if (key == "dtype") return start_field(has_dtype_, key, Expect::dtype);
    if (key == "shape") return start_field(has_shape_, key, Expect::shape);
    if (key == "data_offsets") return start_field(has_offsets_, key, Expect::offsets);
    refuse_safetensors(file_name_, "tensor ", in_quotes(header_.entries.back().blob.name),
                       " has the key ", in_quotes(key), ", expected dtype, shape or data_offsets");
  }

  bool string(std::string& text) {
    if (expect_ == Expect::metadata_value) {
      header_.metadata[metadata_key_] = text;
      return become(Expect::metadata_key);
    }
    if (expect_ != Expect::dtype) refuse_here("a string");
    const std::optional<StoredType> type = parse_stored_type(text);
    if (!type) {
      refuse_safetensors(file_name_, "tensor ", in_quotes(header_.entries.back().blob.name),
                         " has dtype ", in_quotes(text),
                         ", expected one of U8 F16 BF16 I32 F32 F64 I64");
    }
    header_.entries.back().blob.type = *type;
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
        header_.entries.back().begin = number;
        return become(Expect::end);
      case Expect::end:
        header_.entries.back().end = number;
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
    refuse_safetensors(file_name_, "the header is not JSON near byte ", position());
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
    if (header_.entries.size() == limits_.tensors) {
      refuse_safetensors(file_name_, "more than ", limits_.tensors, " tensors");
    }
    header_.entries.emplace_back().blob.name = name;
    has_dtype_ = has_shape_ = has_offsets_ = false;
    return become(Expect::tensor);
  }

  bool start_field(bool& seen, const std::string& key, Expect next) {
    if (std::exchange(seen, true)) refuse_twice(key);
    return become(next);
  }

  bool add_extent(uint64_t extent) {
    NamedBlob& blob = header_.entries.back().blob;
    if (blob.shape.size() == limits_.rank) {
      refuse_safetensors(file_name_, "tensor ", in_quotes(blob.name), " has more than ",
                         limits_.rank, " dimensions");
    }
    if (extent > static_cast<uint64_t>(INT64_MAX)) refuse_here("a number beyond 2^63");
    blob.shape.push_back(static_cast<int64_t>(extent));
    return true;
  }

  [[noreturn]] void refuse_twice(const std::string& key) const {
    refuse_safetensors(file_name_, "the key ", in_quotes(key), " occurs twice, near byte ",
                       position());
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
    refuse_safetensors(file_name_, "the header has ", found, " near byte ", position(),
                       ", expected ", kExpected[static_cast<size_t>(expect_)]);
  }

  size_t position() const {
    return kSafetensorsLengthBytes + static_cast<size_t>(furthest_ - json_.data());
  }

  std::string_view json_;
  const std::string& file_name_;
  const SafetensorsLimits& limits_;
  const char* furthest_;
  SafetensorsHeader header_;
  Expect expect_ = Expect::header;
  std::string metadata_key_;
  bool has_metadata_ = false;
  bool has_dtype_ = false;
  bool has_shape_ = false;
  bool has_offsets_ = false;
};

}  // namespace

SafetensorsHeader read_safetensors_header(std::string_view json, const std::string& file_name,
                                          const SafetensorsLimits& limits) {
  return HeaderReader(json, file_name, limits).read();
}

}  // namespace elbo
