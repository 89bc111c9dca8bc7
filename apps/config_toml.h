// Configurations as TOML.
//
// Reading   gives flat entries with their places, checked for known names but not yet for types
// Parents   parent = "base.toml", relative to the file that says it; a parent's entries come first,
//           so that what is nearer wins
// Writing   every key with its description; the file reads back as the same configuration
// Errors    ErrorCode::usage with file:line:column
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "apps/config_value.h"
#include "engine/io/file_ops.h"
#include "models/config.h"

namespace elbo {

struct ConfigEntry {
  std::string key;  // "train.batch_size", or "preset"
  ConfigValue value;
  std::string place;  // "base.toml:3:14: train.batch_size", the beginning of a message about it
};

struct ConfigText {
  std::vector<ConfigEntry> entries;  // in the order of the file
  std::string parent;                // as written; empty if there is none
  std::string parent_place;
};

ConfigText read_config_text(std::string_view text, const std::string& file_name);

// With all parents, the farthest first. Cycles are refused.
std::vector<ConfigEntry> read_config_file(Fs& fs, const std::string& path);

// One value as TOML writes it. Throws BadValue if `text` is not TOML.
ConfigValue read_toml_value(std::string_view text);

enum class ConfigScope {
  everything,
  repeatable,  // without output.dir and output.name: where a run went is no part of what it is
};
std::string config_toml(const RunConfig& config, ConfigScope scope = ConfigScope::everything);

}  // namespace elbo
