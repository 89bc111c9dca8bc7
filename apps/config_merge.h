// One configuration from all its sources.
//
//   default < preset < files (later wins, parents first) < environment ELBO_* < flags and --set
//
// The preset's own name follows the same order, and is looked up before anything else is applied.
// Errors    ErrorCode::usage: where the value stands, what was found, what was expected
#pragma once

#include <set>
#include <string>
#include <vector>

#include "apps/config_toml.h"

namespace elbo {

// A key given on the command line, as text.
struct CommandLineSetting {
  std::string key;
  std::string text;
  std::string place;  // "--batch-size" or "--set train.batch_size"
};

struct ConfigSources {
  RunConfig defaults;
  std::string preset;                    // --preset; empty if not given
  std::vector<std::string> files;        // --config
  std::vector<std::string> environment;  // "NAME=value"; what does not begin with ELBO_ is ignored
  std::vector<CommandLineSetting> settings;
};

struct MergedConfig {
  RunConfig config;
  std::set<std::string> given;        // keys that some source set, presets aside
  std::vector<std::string> warnings;  // environment variables that look like typing errors
};

MergedConfig merge_config(Fs& fs, const ConfigSources& sources);

// A configuration that a run left behind. Its preset is only a name by now: every value is there.
RunConfig parse_written_config(std::string_view text, const std::string& file_name);

// "key=value" of --set. Throws for an unknown key or a missing "=".
CommandLineSetting parse_set_argument(const std::string& argument);

// This process's environment.
std::vector<std::string> process_environment();

}  // namespace elbo
