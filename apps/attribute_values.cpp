#include "apps/attribute_values.h"

#include <algorithm>

#include "apps/nearest_name.h"
#include "engine/io/attributes.h"
#include "engine/io/blob.h"

namespace elbo {
namespace {

constexpr double kFarthest = 1e30;  // of an attribute, in whatever unit; squares overflow beyond

double parse_value(const std::string& flag, const std::string& text) {
  Arguments one;
  one.add(flag, text);
  return one.number(flag, 0, -kFarthest, kFarthest);
}

size_t place_of(const std::string& flag, const std::string& name,
                const std::vector<std::string>& names) {
  const auto found = find_attribute(name, names);
  if (found) return *found;
  throw_error(ErrorCode::usage, flag, ": found attribute ", in_quotes(name), ", expected one of ",
              attribute_list(names), did_you_mean(name, names));
}

[[noreturn]] void refuse_twice(const std::string& flag, const std::string& name) {
  throw_error(ErrorCode::usage, flag, ": says ", name, " twice, expected each name once");
}

}  // namespace

Inference::AttributeValues parse_attributes(const std::string& flag, const std::string& text,
                                            const std::vector<std::string>& names) {
  Inference::AttributeValues values(names.size());
  if (text.find('=') == std::string::npos) {
    const std::vector<double> all = parse_numbers(flag, text, -kFarthest, kFarthest);
    if (all.size() != names.size()) {
      throw_error(ErrorCode::usage, flag, ": found ", all.size(), " values, expected ",
                  names.size(), ", or NAME=VALUE of some");
    }
    std::transform(all.begin(), all.end(), values.begin(),
                   [](double value) { return static_cast<float>(value); });
    return values;
  }
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string piece = text.substr(begin, end - begin);
    const size_t equals = piece.find('=');
    if (equals == std::string::npos) {
      throw_error(ErrorCode::usage, flag, ": found ", in_quotes(piece),
                  ", expected NAME=VALUE, like ", names.front(), "=0.5");
    }
    const size_t place = place_of(flag, piece.substr(0, equals), names);
    if (values[place]) refuse_twice(flag, names[place]);
    values[place] = static_cast<float>(parse_value(flag, piece.substr(equals + 1)));
    begin = end + 1;
  }
  return values;
}

Inference::AttributeValues parse_all_attributes(const std::string& flag,
                                                const std::vector<std::string>& texts,
                                                const std::vector<std::string>& names) {
  Inference::AttributeValues all(names.size());
  for (const std::string& text : texts) {
    const Inference::AttributeValues values = parse_attributes(flag, text, names);
    for (size_t a = 0; a < all.size(); ++a) {
      if (values[a] && all[a]) refuse_twice(flag, names[a]);
      if (values[a]) all[a] = values[a];
    }
  }
  return all;
}

AttributeRange parse_attribute_range(const std::string& flag, const std::string& text,
                                     const std::vector<std::string>& names) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos) {
    throw_error(ErrorCode::usage, flag, ": found ", in_quotes(text),
                ", expected NAME=LOW..HIGH, like ", names.front(), "=0..1");
  }
  return {place_of(flag, text.substr(0, equals), names),
          parse_range(flag, text.substr(equals + 1), -kFarthest, kFarthest)};
}

void need_attributes(const std::string& flag, const TrainedRun& run) {
  if (!run.model().knows_attributes()) {
    throw_error(ErrorCode::usage, flag,
                ": the model of this run knows no attributes; train one with --condition "
                "attributes");
  }
}

std::vector<float> varied_attributes(TrainedRun& run, const AttributeRange& vary, int64_t steps) {
  Inference& inference = run.inference();
  const std::vector<float> base = inference.told_attributes({}, 1);
  std::vector<float> rows;
  for (int64_t step = 0; step < steps; ++step) {
    const double share =
        steps > 1 ? static_cast<double>(step) / static_cast<double>(steps - 1) : 0.0;
    const double value = vary.range.low + share * (vary.range.high - vary.range.low);
    const auto row = rows.insert(rows.end(), base.begin(), base.end());
    row[static_cast<int64_t>(vary.attribute)] = static_cast<float>(value);
  }
  inference.set_attributes(Inference::AttributeValues(base.size()));
  return rows;
}

}  // namespace elbo
