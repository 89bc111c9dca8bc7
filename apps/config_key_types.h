// The types of configuration keys: each function makes the entry of a key of one type from the name
// and accessor of its member in RunConfig. Included by config_keys.cpp alone.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "apps/config_keys.h"
#include "apps/nearest_name.h"
#include "engine/io/attributes.h"
#include "kernels/error.h"
#include "models/corruption_text.h"
#include "models/layer_spec.h"

namespace elbo {

inline constexpr int64_t kUnbounded = std::numeric_limits<int64_t>::max();
inline constexpr int64_t kWidestLayer =
    65536;  // far beyond use; keeps typing errors from allocating
inline constexpr size_t kMostLayers = 32;

struct About {
  const char* group;
  const char* doc;
  const char* flag = "";  // none of its own: --set reaches every key
  char letter = 0;
};

inline ConfigKey base_key(const char* name, const About& about, std::string value,
                          std::string expected) {
  ConfigKey key;
  key.name = name;
  key.group = about.group;
  key.flag = about.flag;
  key.letter = about.letter;
  key.value = std::move(value);
  key.doc = about.doc;
  key.expected = std::move(expected);
  return key;
}

template <class Member>
ConfigKey integer_key(const char* name, Member member, const About& about, int64_t low,
                      int64_t high) {
  using Field = std::remove_cvref_t<decltype(member(std::declval<RunConfig&>()))>;
  const std::string range = high == kUnbounded ? concat(low, " up") : concat(low, " to ", high);
  ConfigKey key = base_key(name, about, "N", "an integer from " + range);
  key.toml = [member](const RunConfig& c) { return toml_text(static_cast<int64_t>(member(c))); };
  key.assign = [member, low, high, expected = key.expected](RunConfig& c, const ConfigValue& v) {
    const auto* integer = v.as<int64_t>();
    if (integer == nullptr || *integer < low || *integer > high) throw BadValue{expected};
    member(c) = static_cast<Field>(*integer);
  };
  return key;
}

struct Range {
  double low, high;
  bool below_high = false;  // high itself is not allowed
};

template <class Member>
ConfigKey number_key(const char* name, Member member, const About& about, Range range) {
  using Field = std::remove_cvref_t<decltype(member(std::declval<RunConfig&>()))>;
  ConfigKey key = base_key(
      name, about, "X",
      concat("a number from ", range.low, " to ", range.below_high ? "below " : "", range.high));
  key.toml = [member](const RunConfig& c) { return toml_text(member(c)); };
  key.assign = [member, range, expected = key.expected](RunConfig& c, const ConfigValue& v) {
    if (v.as<int64_t>() == nullptr && v.as<double>() == nullptr) throw BadValue{expected};
    const double number = parse_number(v);
    const bool too_high = range.below_high ? number >= range.high : number > range.high;
    if (number < range.low || too_high) throw BadValue{expected};
    member(c) = static_cast<Field>(number);
  };
  return key;
}

template <class Member>
ConfigKey switch_key(const char* name, Member member, const About& about) {
  ConfigKey key = base_key(name, about, "", "true or false");
  key.toml = [member](const RunConfig& c) { return toml_text(static_cast<bool>(member(c))); };
  key.assign = [member, expected = key.expected](RunConfig& c, const ConfigValue& v) {
    const auto* flag = v.as<bool>();
    if (flag == nullptr) throw BadValue{expected};
    member(c) = *flag;
  };
  return key;
}

template <class Member>
ConfigKey text_key(const char* name, Member member, const About& about, std::string value) {
  ConfigKey key = base_key(name, about, std::move(value), "text");
  key.is_text = true;
  key.toml = [member](const RunConfig& c) { return toml_text(std::string_view(member(c))); };
  key.assign = [member, expected = key.expected](RunConfig& c, const ConfigValue& v) {
    const auto* text = v.as<std::string>();
    if (text == nullptr) throw BadValue{expected};
    member(c) = *text;
  };
  return key;
}

template <class Enum>
using Choices = std::vector<std::pair<std::string, Enum>>;

// `former` are names that are still understood but no longer written.
template <class Member, class Enum>
ConfigKey choice_key(const char* name, Member member, const About& about, Choices<Enum> choices,
                     const Choices<Enum>& former = {}) {
  std::string list, expected;
  std::vector<std::string> names;
  for (const auto& choice : choices) {
    list += (list.empty() ? "" : "|") + choice.first;
    expected += (expected.empty() ? "" : ", ") + choice.first;
    names.push_back(choice.first);
  }
  ConfigKey key = base_key(name, about, list, "one of " + expected);
  key.choices = names;
  key.is_text = true;
  key.toml = [member, choices](const RunConfig& c) {
    for (const auto& choice : choices)
      if (choice.second == member(c)) return toml_text(std::string_view(choice.first));
    throw_error(ErrorCode::failure, "a configuration enum has no name");
  };
  choices.insert(choices.end(), former.begin(), former.end());
  key.assign = [member, choices, names, expected = key.expected](RunConfig& c,
                                                                 const ConfigValue& v) {
    const auto* text = v.as<std::string>();
    if (text == nullptr) throw BadValue{expected};
    for (const auto& choice : choices)
      if (choice.first == *text) return void(member(c) = choice.second);
    throw BadValue{expected + did_you_mean(*text, names)};
  };
  return key;
}

template <class Member>
ConfigKey widths_key(const char* name, Member member, const About& about) {
  ConfigKey key = base_key(name, about, "LIST", "a list of layer widths, like [400, 200]");
  key.toml = [member](const RunConfig& c) { return toml_text(member(c)); };
  key.assign = [member](RunConfig& c, const ConfigValue& v) {
    std::vector<int64_t> widths = parse_integers(v, 1, kWidestLayer);
    if (widths.size() > kMostLayers)
      throw BadValue{
          concat("at most ", kMostLayers, " layer widths, like [400, 200], or [] for none")};
    member(c) = std::move(widths);
  };
  return key;
}

// A list of texts, or one text with commas between the layers.
template <class Member>
ConfigKey layers_key(const char* name, Member member, const About& about) {
  ConfigKey key =
      base_key(name, about, "LAYERS", "layers like \"conv 32 k4 s2 relu, conv 64 k4 s2 relu\"");
  key.is_text = true;
  key.toml = [member](const RunConfig& c) { return toml_text(member(c)); };
  key.assign = [member, expected = key.expected](RunConfig& c, const ConfigValue& v) {
    std::vector<std::string> lines = parse_lines(v, expected);
    if (lines.size() > kMostLayers) throw BadValue{concat("at most ", kMostLayers, " layers")};
    try {
      parse_layers(lines);
    } catch (const Error& error) {
      throw BadValue{concat("layers that make sense: ", error.what())};
    }
    member(c) = std::move(lines);
  };
  return key;
}

// A list of texts, or one text with commas between them.
template <class Member>
ConfigKey names_key(const char* name, Member member, const About& about) {
  ConfigKey key = base_key(name, about, "NAMES", "a list of names, like \"x,size\"");
  key.is_text = true;
  key.toml = [member](const RunConfig& c) { return toml_text(member(c)); };
  key.assign = [member, expected = key.expected, key_name = std::string(name)](
                   RunConfig& c, const ConfigValue& v) {
    std::vector<std::string> names = parse_lines(v, expected);
    try {
      if (!names.empty()) check_attribute_names(names, key_name);
    } catch (const Error& error) {
      throw BadValue{concat("names that make sense: ", error.what())};
    }
    member(c) = std::move(names);
  };
  return key;
}

template <class Member>
ConfigKey corruption_key(const char* name, Member member, const About& about) {
  ConfigKey key = text_key(name, member, about, "CHAIN");
  key.assign = [member](RunConfig& c, const ConfigValue& v) {
    const auto* text = v.as<std::string>();
    if (text == nullptr) throw BadValue{"text like \"gaussian:0.3,blur:2\""};
    try {
      parse_corruptions(*text);
    } catch (const Error& error) {
      throw BadValue{concat("corruptions that make sense: ", error.what())};
    }
    member(c) = *text == "none" ? "" : *text;
  };
  return key;
}

template <class Member>
ConfigKey size_key(const char* name, Member member, const About& about) {
  ConfigKey key = base_key(name, about, "HxW", "a size in pixels like 64 or 48x64, or auto");
  key.is_text = true;
  key.toml = [member](const RunConfig& c) {
    const PixelSize& size = member(c);
    const std::string text = size.height == 0 ? "auto" : concat(size.height, "x", size.width);
    return toml_text(std::string_view(text));
  };
  key.assign = [member, expected = key.expected](RunConfig& c, const ConfigValue& v) {
    const auto* text = v.as<std::string>();
    const auto* integer = v.as<int64_t>();
    const auto size = text != nullptr      ? parse_image_size(*text)
                      : integer != nullptr ? parse_image_size(std::to_string(*integer))
                                           : std::nullopt;
    if (!size) throw BadValue{expected};
    member(c) = *size;
  };
  return key;
}

// Text, as TOML has no type for it.
template <class Member>
ConfigKey steps_key(const char* name, Member member, const About& about) {
  ConfigKey key = base_key(name, about, "A:B", "steps A:B with A below B, like 100:120");
  key.is_text = true;
  key.toml = [member](const RunConfig& c) {
    const StepWindow& window = member(c);
    const std::string text = window.empty() ? "" : concat(window.first, ":", window.end);
    return toml_text(std::string_view(text));
  };
  key.assign = [member, expected = key.expected](RunConfig& c, const ConfigValue& v) {
    const auto* text = v.as<std::string>();
    const auto window = text == nullptr ? std::nullopt : parse_step_window(*text);
    if (!window) throw BadValue{expected};
    member(c) = *window;
  };
  return key;
}

template <class Member>
ConfigKey schedule_key(const char* name, Member member, const About& about) {
  ConfigKey key = base_key(name, about, "X", "a number or a schedule");
  key.toml = [member](const RunConfig& c) { return toml_text(member(c)); };
  key.assign = [member](RunConfig& c, const ConfigValue& v) {
    const RunConfig defaults;
    member(c) = parse_schedule(v, member(defaults).base);
  };
  return key;
}

}  // namespace elbo
