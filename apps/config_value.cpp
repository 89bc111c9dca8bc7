#include "apps/config_value.h"

#include <array>
#include <charconv>
#include <cmath>

#include "kernels/error.h"

namespace elbo {
namespace {

// Shortest digits that read back as the same bits; with a point or exponent, as TOML floats have.
template <class T>
std::string shortest_text(T value) {
  std::array<char, 32> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  std::string text(digits.data(), end);
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}

template <class T>
std::string list_text(const std::vector<T>& values) {
  std::string text = "[";
  for (const T& value : values) text += (text.size() > 1 ? ", " : "") + toml_text(value);
  return text + "]";
}

// As TOML wants a key: bare if it may be.
std::string key_text(const std::string& name) {
  constexpr const char* kBare = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
  const bool bare = !name.empty() && name.find_first_not_of(kBare) == std::string::npos;
  return bare ? name : toml_text(std::string_view(name));
}

std::string full_text(const ConfigValue& value) {
  if (const auto* flag = value.as<bool>()) return toml_text(*flag);
  if (const auto* integer = value.as<int64_t>()) return toml_text(*integer);
  if (const auto* number = value.as<double>()) return toml_text(*number);
  if (const auto* text = value.as<std::string>()) return toml_text(std::string_view(*text));
  std::string joined;
  if (const auto* list = value.as<ConfigList>()) {
    for (const ConfigValue& item : *list) joined += (joined.empty() ? "" : ", ") + full_text(item);
    return "[" + joined + "]";
  }
  if (const auto* table = value.as<ConfigTable>()) {
    for (const auto& [name, item] : *table)
      joined += (joined.empty() ? "" : ", ") + key_text(name) + " = " + full_text(item);
    return "{" + joined + "}";
  }
  return "a date or time";
}

}  // namespace

std::string value_text(const ConfigValue& value) {
  constexpr size_t kLongest = 60;  // keeps a message on one line
  const std::string text = full_text(value);
  return text.size() <= kLongest ? text : text.substr(0, kLongest) + "...";
}

std::string toml_text(bool value) { return value ? "true" : "false"; }
std::string toml_text(int64_t value) { return std::to_string(value); }
std::string toml_text(double value) { return shortest_text(value); }
std::string toml_text(const std::vector<int64_t>& value) { return list_text(value); }
std::string toml_text(const std::vector<std::string>& value) { return list_text(value); }

std::string toml_text(float value) {
  const std::string text = shortest_text(value);
  // Files are read as doubles first. Rounded twice, the shortest digits of a float can in principle
  // end one bit off; the float as a double cannot.
  double read = 0;
  std::from_chars(text.data(), text.data() + text.size(), read);
  return static_cast<float>(read) == value ? text : shortest_text(static_cast<double>(value));
}

std::string toml_text(std::string_view value) {
  std::string text = "\"";
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      text += {'\\', c};
    } else if (byte < 0x20 || byte == 0x7f) {
      constexpr char kHex[] = "0123456789abcdef";
      text += {'\\', 'u', '0', '0', kHex[byte >> 4], kHex[byte & 15]};
    } else {
      text += c;
    }
  }
  return text + "\"";
}

double parse_number(const ConfigValue& value) {
  if (const auto* integer = value.as<int64_t>()) return static_cast<double>(*integer);
  const auto* number = value.as<double>();
  if (number == nullptr || !std::isfinite(*number)) throw BadValue{"a number"};
  return *number;
}

std::optional<StepWindow> parse_step_window(std::string_view text) {
  StepWindow window;
  if (text.empty()) return window;
  const char* end = text.data() + text.size();
  // from_chars takes neither spaces nor a plus, and stops at what does not fit.
  const auto first = std::from_chars(text.data(), end, window.first);
  if (first.ec != std::errc{} || first.ptr == end || *first.ptr != ':') return std::nullopt;
  const auto last = std::from_chars(first.ptr + 1, end, window.end);
  const bool whole = last.ec == std::errc{} && last.ptr == end;
  if (!whole || window.first < 0 || window.empty()) return std::nullopt;
  return window;
}

std::optional<PixelSize> parse_image_size(std::string_view text) {
  constexpr int64_t kLargestSide = 16384;
  PixelSize size;
  if (text == "auto" || text == "0") return size;
  const char* end = text.data() + text.size();
  auto read = std::from_chars(text.data(), end, size.height);
  size.width = size.height;
  if (read.ec == std::errc{} && read.ptr != end && *read.ptr == 'x') {
    read = std::from_chars(read.ptr + 1, end, size.width);
  }
  const auto fits = [](int64_t side) { return side >= 1 && side <= kLargestSide; };
  const bool whole = read.ec == std::errc{} && read.ptr == end;
  if (!whole || !fits(size.height) || !fits(size.width)) return std::nullopt;
  return size;
}

std::vector<int64_t> parse_integers(const ConfigValue& value, int64_t low, int64_t high) {
  const BadValue bad{concat("a list of integers from ", low, " to ", high, ", like [400, 200]")};
  const auto* list = value.as<ConfigList>();
  if (list == nullptr) throw bad;
  std::vector<int64_t> integers;
  for (const ConfigValue& item : *list) {
    const auto* integer = item.as<int64_t>();
    if (integer == nullptr || *integer < low || *integer > high) throw bad;
    integers.push_back(*integer);
  }
  return integers;
}

std::vector<std::string> parse_lines(const ConfigValue& value, const std::string& expected) {
  std::vector<std::string> lines;
  if (const auto* text = value.as<std::string>()) {
    for (size_t begin = 0; !text->empty() && begin <= text->size();) {
      const size_t comma = std::min(text->find(',', begin), text->size());
      const size_t first = std::min(text->find_first_not_of(' ', begin), comma);
      std::string line = text->substr(first, comma - first);
      line.erase(line.find_last_not_of(' ') + 1);
      lines.push_back(std::move(line));
      begin = comma + 1;
    }
    return lines;
  }
  const auto* list = value.as<ConfigList>();
  if (list == nullptr) throw BadValue{expected};
  for (const ConfigValue& item : *list) {
    const auto* text = item.as<std::string>();
    if (text == nullptr) throw BadValue{expected};
    lines.push_back(*text);
  }
  return lines;
}

}  // namespace elbo
