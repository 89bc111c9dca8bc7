// The table of configuration keys: one entry describes a key once, and flags, environment variables,
// TOML reading and writing, --set, --print-config and --help all come from it.
//
// A key's name is its path in RunConfig ("train.batch_size"), taken from the code by a macro, so the
// two cannot differ. To add a setting: a member in models/config.h and a line in config_keys.cpp.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "apps/config_value.h"
#include "models/config.h"

namespace elbo {

struct ConfigKey {
  std::string name;      // "train.batch_size"
  std::string group;     // heading in --help
  std::string flag;      // "--batch-size"; empty if only --set reaches it
  char letter = 0;       // 'b'
  std::string value;     // in --help: "N"; empty for an on/off key, whose flag takes no value
  std::string doc;       // in --help and as a comment in printed TOML
  std::string expected;  // "an integer from 1 to 65536"
  std::vector<std::string> choices;  // names of an enum
  // On a command line, plain text is the value itself; what is not text is read as TOML.
  bool is_text = false;

  std::function<std::string(const RunConfig&)> toml;           // as TOML text
  std::function<void(RunConfig&, const ConfigValue&)> assign;  // throws BadValue

  std::string environment() const;  // "ELBO_BATCH_SIZE"
  std::string full_doc() const;     // with the choices, if there is more than one
  std::string section() const;      // "train"; empty at the top level
  std::string leaf() const;         // "batch_size"
};

const std::vector<ConfigKey>& config_keys();
const ConfigKey* find_config_key(std::string_view name);  // null if there is none
std::vector<std::string> config_key_names();

}  // namespace elbo
