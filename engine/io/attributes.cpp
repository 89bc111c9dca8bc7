#include "engine/io/attributes.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "engine/io/blob.h"
#include "kernels/error.h"
#include "kernels/sprites.h"

namespace elbo {
namespace {

// Bytes of the character that a text begins with; 0: it is not UTF-8, or a control character. (RFC
// 3629: the shortest form, no surrogates, at most U+10FFFF.)
size_t printable_character(std::string_view text) {
  const auto byte = [&](size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  const uint32_t first = byte(0);
  if (first < 0x80) return first < 0x20 || first == 0x7f ? 0 : 1;
  const size_t length = first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (length == 0 || first >= 0xf8) return 0;
  uint32_t character = first & (0xffu >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    character = character << 6 | (byte(i) & 0x3f);
  }
  constexpr uint32_t kFirstOf[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = character >= 0xd800 && character < 0xe000;
  return character < kFirstOf[length] || surrogate || character > 0x10ffff ? 0 : length;
}

bool is_printable(std::string_view text) {
  while (!text.empty()) {
    const size_t length = printable_character(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

[[noreturn]] void refuse_same_name(const std::string& name, const std::string& source) {
  throw_error(ErrorCode::data, source, ": two attributes are called ", in_quotes(name),
              ", expected each name once; rename one");
}

}  // namespace

std::string attribute_list(const std::vector<std::string>& names) {
  constexpr size_t kShown = 50;  // more than anybody reads in one line
  std::string list;
  for (size_t i = 0; i < std::min(names.size(), kShown); ++i)
    list += (i == 0 ? "" : ", ") + names[i];
  return names.size() > kShown ? list + ", ..." : list;
}

const std::vector<std::string>& sprite_attribute_names() {
  static const std::vector<std::string> names(std::begin(kSpriteAttributeNames),
                                              std::end(kSpriteAttributeNames));
  return names;
}

std::optional<size_t> find_attribute(const std::string& name,
                                     const std::vector<std::string>& names) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) return std::nullopt;
  return static_cast<size_t>(found - names.begin());
}

std::vector<std::string> numbered_attributes(int64_t count) {
  std::vector<std::string> names;
  for (int64_t i = 0; i < count; ++i) names.push_back(concat("attribute_", i));
  return names;
}

void check_attribute_names(const std::vector<std::string>& names, const std::string& source) {
  if (names.empty() || std::ssize(names) > kMostAttributes) {
    throw_error(ErrorCode::data, source, ": names ", names.size(), " attributes, expected 1 to ",
                kMostAttributes);
  }
  std::set<std::string> known;
  for (size_t i = 0; i < names.size(); ++i) {
    const std::string& name = names[i];
    if (!is_printable(name)) {
      throw_error(ErrorCode::data, source, ": attribute ", i + 1, " is called ", in_quotes(name),
                  ", expected a name in UTF-8 without control characters; rename it");
    }
    if (name.empty() || name.find_first_of("=,") != std::string::npos) {
      throw_error(ErrorCode::data, source, ": found an attribute called ", in_quotes(name),
                  ", expected a name without = and commas; rename it");
    }
    if (!known.insert(name).second) refuse_same_name(name, source);
  }
}

std::vector<int64_t> attribute_columns(const std::vector<std::string>& wanted,
                                       const std::vector<std::string>& names,
                                       const std::string& source) {
  std::vector<int64_t> columns;
  if (wanted.empty()) {
    check_attribute_names(names, source);
    columns.resize(names.size());
    std::iota(columns.begin(), columns.end(), 0);
    return columns;
  }
  for (const std::string& name : wanted) {
    const auto found = find_attribute(name, names);
    if (!found) {
      throw_error(ErrorCode::data, source, ": there is no attribute ", in_quotes(name),
                  ", expected some of ", attribute_list(names));
    }
    const auto column = static_cast<int64_t>(*found);
    if (std::find(columns.begin(), columns.end(), column) != columns.end()) {
      throw_error(ErrorCode::usage, "data.attributes names ", in_quotes(name),
                  " twice; name it once");
    }
    if (std::count(names.begin(), names.end(), name) > 1) refuse_same_name(name, source);
    columns.push_back(column);
  }
  check_attribute_names(wanted, source);
  return columns;
}

void check_same_attributes(const ImageSplit& train, const ImageSplit& test) {
  const bool both = !train.attribute_names.empty() && !test.attribute_names.empty();
  if (!both || train.attribute_names == test.attribute_names) return;
  throw_error(ErrorCode::data, test.source, ": has the attributes ",
              attribute_list(test.attribute_names), ", expected ",
              attribute_list(train.attribute_names), " as in ", train.source);
}

std::vector<AttributeFigures> attribute_figures(std::span<const float> rows, int64_t attributes) {
  std::vector<AttributeFigures> all(static_cast<size_t>(attributes));
  if (rows.empty()) return all;
  const auto n = static_cast<double>(std::ssize(rows) / attributes);
  for (size_t a = 0; a < all.size(); ++a) {
    AttributeFigures& figures = all[a];
    figures.lowest = figures.highest = rows[a];
    double sum = 0, squares = 0;
    for (size_t i = a; i < rows.size(); i += all.size()) {
      const double value = rows[i];
      sum += value;
      figures.lowest = std::min(figures.lowest, value);
      figures.highest = std::max(figures.highest, value);
    }
    figures.mean = sum / n;
    if (figures.lowest == figures.highest) {  // rounding of the mean must not look like a spread
      figures.mean = figures.lowest;
      continue;
    }
    for (size_t i = a; i < rows.size(); i += all.size())
      squares += (rows[i] - figures.mean) * (rows[i] - figures.mean);
    figures.deviation = std::sqrt(squares / n);
  }
  return all;
}

}  // namespace elbo
