#include "apps/config_merge.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "apps/config_keys.h"
#include "apps/nearest_name.h"
#include "engine/io/blob.h"

namespace elbo {
namespace {

template <class Number>
bool parse_whole(std::string_view text, Number& number) {
  if (!text.empty() && text.front() == '+') text.remove_prefix(1);
  const auto result = std::from_chars(text.data(), text.data() + text.size(), number);
  return result.ec == std::errc{} && result.ptr == text.data() + text.size();
}

// Several texts may stand in brackets, as in TOML, or in brackets without their quotes.
ConfigValue texts_from_text(const std::string& text) {
  if (!text.starts_with('[') || !text.ends_with(']')) return {text};
  try {
    return read_toml_value(text);
  } catch (const BadValue&) {
    return {text.substr(1, text.size() - 2)};
  }
}

// Text from a command line or the environment, where quoting is a nuisance: numbers as C writes
// them, lists without brackets, switches as 0 and 1, and plain words where text is wanted.
ConfigValue value_from_text(const ConfigKey& key, const std::string& text) {
  if (key.value == "LAYERS" || key.value == "NAMES") return texts_from_text(text);
  if (key.is_text) return {text};
  const bool is_switch = key.value.empty(), is_list = key.value == "LIST";
  if (is_switch && (text == "1" || text == "0")) return {text == "1"};
  int64_t integer = 0;
  double number = 0;
  if (!is_list && parse_whole(text, integer)) return {integer};
  if (!is_list && parse_whole(text, number) && std::isfinite(number)) return {number};
  try {
    return read_toml_value(is_list && !text.starts_with('[') ? "[" + text + "]" : text);
  } catch (const BadValue&) {
    return {text};  // the key will say what it expected instead
  }
}

void apply(RunConfig& config, const ConfigKey& key, const ConfigValue& value,
           const std::string& place) {
  try {
    key.assign(config, value);
  } catch (const BadValue& bad) {
    throw_error(ErrorCode::usage, place, ": found ", value_text(value), ", expected ",
                bad.expected);
  }
}

struct EnvironmentSetting {
  std::string name, text;
};

class Merger {
 public:
  Merger(Fs& fs, const ConfigSources& sources) : sources_(sources) {
    for (const std::string& file : sources.files)
      for (ConfigEntry& entry : read_config_file(fs, file)) entries_.push_back(std::move(entry));
    for (const std::string& variable : sources.environment) {
      const size_t equals = variable.find('=');
      if (variable.starts_with("ELBO_") && equals != std::string::npos)
        environment_.push_back({variable.substr(0, equals), variable.substr(equals + 1)});
    }
  }

  MergedConfig merge() {
    apply_preset();
    for (const ConfigEntry& entry : entries_) {
      if (entry.key == "preset") continue;
      apply(merged_.config, *find_config_key(entry.key), entry.value, entry.place);
      merged_.given.insert(entry.key);
    }
    for (const EnvironmentSetting& setting : environment_) apply_environment(setting);
    apply_command_line();
    return std::move(merged_);
  }

 private:
  void apply_preset() {
    std::string name = sources_.preset, place = "--preset";
    for (const ConfigEntry& entry : entries_) {
      if (entry.key != "preset" || !sources_.preset.empty()) continue;
      const auto* text = entry.value.as<std::string>();
      if (text == nullptr) {
        throw_error(ErrorCode::usage, entry.place, ": found ", value_text(entry.value),
                    ", expected the name of a preset");
      }
      name = *text;
      place = entry.place;
    }
    for (const EnvironmentSetting& setting : environment_) {
      if (setting.name != "ELBO_PRESET" || !sources_.preset.empty()) continue;
      name = setting.text;
      place = setting.name;
    }
    merged_.config = sources_.defaults;
    if (name.empty()) return;
    std::vector<std::string> known;
    for (const Preset& preset : presets()) {
      known.push_back(preset.name);
      if (preset.name != name) continue;
      merged_.config = preset.config;
      merged_.config.preset = name;
      return;
    }
    const std::string hint = did_you_mean(name, known);
    throw_error(ErrorCode::usage, place, ": unknown preset ", in_quotes(name), hint,
                hint.empty() ? "; " : " ", "elbo train --list-presets shows all");
  }

  void apply_environment(const EnvironmentSetting& setting) {
    const std::string prefix = "ELBO_";
    std::vector<std::string> known = {"PRESET"};
    if (setting.name == prefix + known[0]) return;
    for (const ConfigKey& key : config_keys()) {
      const std::string name = key.environment();
      known.push_back(name.substr(prefix.size()));
      if (name != setting.name) continue;
      apply(merged_.config, key, value_from_text(key, setting.text), setting.name);
      merged_.given.insert(key.name);
      return;
    }
    // Only what looks like a typing error: scripts may have variables of their own.
    const std::string nearest = nearest_name(setting.name.substr(prefix.size()), known);
    if (nearest.empty()) return;
    merged_.warnings.push_back(concat("environment variable ", setting.name,
                                      " is not a setting; did you mean ", prefix, nearest, "?"));
  }

  void apply_command_line() {
    std::vector<const CommandLineSetting*> seen;
    for (const CommandLineSetting& setting : sources_.settings) {
      for (const CommandLineSetting* other : seen) {
        if (other->key != setting.key) continue;
        throw_error(ErrorCode::usage, setting.place, ": ", setting.key, " is given twice (",
                    in_quotes(other->text), " and ", in_quotes(setting.text), "); give it once");
      }
      const ConfigKey& key = *find_config_key(setting.key);
      apply(merged_.config, key, value_from_text(key, setting.text), setting.place);
      merged_.given.insert(setting.key);
      seen.push_back(&setting);
    }
  }

  const ConfigSources& sources_;
  std::vector<ConfigEntry> entries_;
  std::vector<EnvironmentSetting> environment_;
  MergedConfig merged_;
};

}  // namespace

MergedConfig merge_config(Fs& fs, const ConfigSources& sources) {
  return Merger(fs, sources).merge();
}

RunConfig parse_written_config(std::string_view text, const std::string& file_name) {
  RunConfig config;
  config.plan_mode = PlanMode::heuristic;  // of runs that were begun before there was a choice
  for (const ConfigEntry& entry : read_config_text(text, file_name).entries) {
    if (entry.key != "preset") {
      apply(config, *find_config_key(entry.key), entry.value, entry.place);
    } else if (const auto* name = entry.value.as<std::string>()) {
      config.preset = *name;
    }
  }
  return config;
}

CommandLineSetting parse_set_argument(const std::string& argument) {
  const size_t equals = argument.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw_error(ErrorCode::usage, "--set: found ", in_quotes(argument),
                ", expected key=value, like --set model.hidden=400,200");
  }
  // As a line of a TOML file has it, there may be spaces on both sides.
  const std::string key = argument.substr(0, argument.find_last_not_of(' ', equals - 1) + 1);
  const size_t begin = std::min(argument.find_first_not_of(' ', equals + 1), argument.size());
  if (key == "preset") throw_error(ErrorCode::usage, "--set preset: use --preset instead");
  if (find_config_key(key) == nullptr) {
    throw_error(ErrorCode::usage, "--set ", key, ": unknown key",
                did_you_mean(key, config_key_names()));
  }
  return {key, argument.substr(begin), "--set " + key};
}

std::vector<std::string> process_environment() {
  std::vector<std::string> variables;
  for (char** variable = environ; variable != nullptr && *variable != nullptr; ++variable)
    variables.emplace_back(*variable);
  return variables;
}

}  // namespace elbo
