// A configuration value between its source (file, environment, command line) and its key's type.
//
// Numbers are written so that reading them gives the same bits.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "kernels/schedule.h"
#include "models/config.h"

namespace elbo {

struct ConfigValue;
struct ConfigField;
using ConfigList = std::vector<ConfigValue>;
using ConfigTable = std::vector<ConfigField>;

// What TOML can express and we use. std::monostate stands for what we do not use (dates).
struct ConfigValue {
  std::variant<std::monostate, bool, int64_t, double, std::string, ConfigList, ConfigTable> data;

  template <class T>
  const T* as() const {
    return std::get_if<T>(&data);
  }
};

struct ConfigField {
  std::string name;
  ConfigValue value;
};

// As people would write it, cut to one short line: 3, "abc", [1, 2], {kind = "warmup"}.
std::string value_text(const ConfigValue& value);

std::string toml_text(bool value);
std::string toml_text(int64_t value);
std::string toml_text(float value);
std::string toml_text(double value);
std::string toml_text(std::string_view value);  // a quoted and escaped TOML string
std::string toml_text(const std::vector<int64_t>& value);
std::string toml_text(const std::vector<std::string>& value);

// 0.001, or {kind = "warmup", base = 0.001, start = 0.0, steps = 500}
std::string toml_text(const Schedule& value);

// A value that its key does not accept. Whoever knows where the value stands makes an Error of it.
struct BadValue {
  std::string expected;  // "an integer from 1 to 16"
};

// Accepts integers where a number is wanted; finite numbers only. Throws BadValue.
double parse_number(const ConfigValue& value);
// "A:B" with 0 <= A < B, or nothing for no steps; null for anything else.
std::optional<StepWindow> parse_step_window(std::string_view text);
// "64", "48x64" (height first), "auto" or "0"; null for anything else.
std::optional<PixelSize> parse_image_size(std::string_view text);
std::vector<int64_t> parse_integers(const ConfigValue& value, int64_t low, int64_t high);
// The texts of a list, or the parts of one text between commas. Throws BadValue{expected}.
std::vector<std::string> parse_lines(const ConfigValue& value, const std::string& expected);

// A number is a constant schedule. Otherwise a table: kind, base, start, steps, ratio as far as the
// kind uses them; for "stages" the lists until (n steps) and value (n + 1 values). Throws BadValue.
Schedule parse_schedule(const ConfigValue& value, float default_base);

}  // namespace elbo
