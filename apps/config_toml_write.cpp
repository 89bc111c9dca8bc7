#include "apps/config_keys.h"
#include "apps/config_toml.h"

namespace elbo {
namespace {

constexpr size_t kCommentColumn = 32;  // most settings are shorter

bool is_place_of_run(const ConfigKey& key) {
  return key.name == "output.dir" || key.name == "output.name";
}

std::string setting_line(const std::string& name, const std::string& value,
                         const std::string& comment) {
  std::string line = name + " = " + value;
  line.resize(std::max(line.size() + 2, kCommentColumn), ' ');
  return line + "# " + comment + "\n";
}

}  // namespace

std::string config_toml(const RunConfig& config, ConfigScope scope) {
  std::string text = "# A run of elbo; repeat it with: elbo train --config FILE\n\n";
  if (!config.preset.empty()) {
    text += setting_line("preset", toml_text(std::string_view(config.preset)),
                         "every value below overrides the preset's");
  }
  std::string section;
  for (const ConfigKey& key : config_keys()) {
    if (scope == ConfigScope::repeatable && is_place_of_run(key)) continue;
    if (key.section() != section) {
      section = key.section();
      text += "\n[" + section + "]\n";
    }
    text += setting_line(key.leaf(), key.toml(config), key.full_doc());
  }
  return text;
}

}  // namespace elbo
