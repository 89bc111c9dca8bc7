#include "engine/io/attributes.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "engine/io/blob.h"
#include "kernels/error.h"

namespace elbo {
namespace {

std::string list_of(const std::vector<std::string>& names) {
  constexpr size_t kShown = 50;  // more than anybody reads in one line
  std::string list;
  for (size_t i = 0; i < std::min(names.size(), kShown); ++i)
    list += (i == 0 ? "" : ", ") + names[i];
  return names.size() > kShown ? list + ", ..." : list;
}

}  // namespace

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
  for (const std::string& name : names) {
    if (name.empty() || name.find_first_of("=,") != std::string::npos) {
      throw_error(ErrorCode::data, source, ": found an attribute called ", in_quotes(name),
                  ", expected a name without = and commas; rename it");
    }
    if (!known.insert(name).second) {
      throw_error(ErrorCode::data, source, ": two attributes are called ", in_quotes(name),
                  ", expected each name once; rename one");
    }
  }
}

std::vector<int64_t> attribute_columns(const std::vector<std::string>& wanted,
                                       const std::vector<std::string>& names,
                                       const std::string& source) {
  std::vector<int64_t> columns;
  for (const std::string& name : wanted.empty() ? names : wanted) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) {
      throw_error(ErrorCode::data, source, ": there is no attribute ", in_quotes(name),
                  ", expected some of ", list_of(names));
    }
    const int64_t column = found - names.begin();
    if (std::find(columns.begin(), columns.end(), column) != columns.end()) {
      throw_error(ErrorCode::usage, "data.attributes names ", in_quotes(name),
                  " twice; name it once");
    }
    columns.push_back(column);
  }
  return columns;
}

void choose_attributes(ImageSplit& split, const std::vector<std::string>& wanted) {
  if (split.attribute_names.empty() || wanted.empty() || wanted == split.attribute_names) return;
  const std::vector<int64_t> columns =
      attribute_columns(wanted, split.attribute_names, split.source);
  const int64_t numbers = std::ssize(split.attribute_names);
  std::vector<float> chosen;
  chosen.reserve(static_cast<size_t>(split.count) * columns.size());
  for (int64_t i = 0; i < split.count; ++i) {
    for (const int64_t column : columns)
      chosen.push_back(split.attributes[static_cast<size_t>(i * numbers + column)]);
  }
  split.attributes = std::move(chosen);
  split.attribute_names = wanted;
}

void check_same_attributes(const ImageSplit& train, const ImageSplit& test) {
  const bool both = !train.attribute_names.empty() && !test.attribute_names.empty();
  if (!both || train.attribute_names == test.attribute_names) return;
  throw_error(ErrorCode::data, test.source, ": has the attributes ", list_of(test.attribute_names),
              ", expected ", list_of(train.attribute_names), " as in ", train.source);
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
