// The only file that includes toml++.
#include <toml++/toml.h>

#include <algorithm>

#include "apps/config_keys.h"
#include "apps/config_toml.h"
#include "apps/nearest_name.h"
#include "engine/io/blob.h"

namespace elbo {
namespace {

constexpr uint64_t kLargestFile = uint64_t{1} << 20;
constexpr size_t kDeepestChain = 32;  // of parents; deeper than anyone builds by hand

std::string place_text(const std::string& file, const toml::source_position& at) {
  return concat(file, ":", at.line, ":", at.column);
}

ConfigValue convert(const toml::node& node) {
  ConfigValue value;
  if (const auto flag = node.value_exact<bool>()) value.data = *flag;
  if (const auto integer = node.value_exact<int64_t>()) value.data = *integer;
  if (const auto number = node.value_exact<double>()) value.data = *number;
  if (const auto text = node.value_exact<std::string>()) value.data = *text;
  if (const toml::array* array = node.as_array()) {
    ConfigList list;
    for (const toml::node& item : *array) list.push_back(convert(item));
    value.data = std::move(list);
  }
  if (const toml::table* table = node.as_table()) {
    ConfigTable fields;
    for (const auto& [key, item] : *table)
      fields.push_back({std::string(key.str()), convert(item)});
    value.data = std::move(fields);
  }
  return value;
}

bool is_section(const std::string& name) {
  return std::any_of(config_keys().begin(), config_keys().end(),
                     [&](const ConfigKey& key) { return key.name.starts_with(name + "."); });
}

// toml++ keeps a table's keys sorted; messages and entries should follow the file.
std::vector<std::pair<const toml::key*, const toml::node*>> in_file_order(
    const toml::table& table) {
  std::vector<std::pair<const toml::key*, const toml::node*>> items;
  for (const auto& [key, node] : table) items.emplace_back(&key, &node);
  std::sort(items.begin(), items.end(), [](const auto& a, const auto& b) {
    const auto &left = a.first->source().begin, &right = b.first->source().begin;
    return left.line != right.line ? left.line < right.line : left.column < right.column;
  });
  return items;
}

class Flattener {
 public:
  Flattener(const std::string& file, ConfigText& out) : file_(file), out_(out) {}

  void add(const toml::table& table, const std::string& prefix) {
    for (const auto& [key, node] : in_file_order(table)) {
      const std::string name = prefix + std::string(key->str());
      const std::string place = place_text(file_, node->source().begin) + ": " + name;
      if (name == "parent") {
        add_parent(*node, place);
      } else if (name == "preset" || find_config_key(name) != nullptr) {
        out_.entries.push_back({name, convert(*node), place});
      } else if (is_section(name)) {
        const toml::table* section = node->as_table();
        if (section == nullptr) {
          throw_error(ErrorCode::usage, place, ": found ", value_text(convert(*node)),
                      ", expected a section [", name, "]");
        }
        add(*section, name + ".");
      } else {
        unknown(*key, name);
      }
    }
  }

 private:
  void add_parent(const toml::node& node, const std::string& place) {
    const auto text = node.value_exact<std::string>();
    if (!text || text->empty()) {
      throw_error(ErrorCode::usage, place, ": found ", value_text(convert(node)),
                  ", expected the path of a TOML file");
    }
    out_.parent = *text;
    out_.parent_place = place;
  }

  [[noreturn]] void unknown(const toml::key& key, const std::string& name) const {
    std::vector<std::string> known = config_key_names();
    known.emplace_back("parent");
    for (const ConfigKey& entry : config_keys())
      if (!entry.section().empty()) known.push_back(entry.section());
    throw_error(ErrorCode::usage, place_text(file_, key.source().begin), ": unknown key ", name,
                did_you_mean(name, known));
  }

  const std::string& file_;
  ConfigText& out_;
};

// `place` is where `path` is named.
void add_file(Fs& fs, const std::string& path, const std::string& place,
              std::vector<std::string>& chain, std::vector<ConfigEntry>& entries) {
  std::string text;
  try {
    text = read_text_file(fs, path, kLargestFile);
  } catch (const Error& error) {
    // A wrong flag, not damaged data.
    throw_error(ErrorCode::usage, place, ": ", error.what());
  }
  chain.push_back(path);
  ConfigText file = read_config_text(text, path);
  if (!file.parent.empty()) {
    const bool absolute = file.parent.front() == '/';
    const bool beside = !absolute && path.find('/') != std::string::npos;
    const std::string parent = beside ? join_path(parent_path(path), file.parent) : file.parent;
    if (std::find(chain.begin(), chain.end(), parent) != chain.end() ||
        chain.size() >= kDeepestChain) {
      throw_error(ErrorCode::usage, file.parent_place, ": ", in_quotes(file.parent),
                  " leads back to itself");
    }
    add_file(fs, parent, file.parent_place, chain, entries);
  }
  for (ConfigEntry& entry : file.entries) entries.push_back(std::move(entry));
}

}  // namespace

ConfigText read_config_text(std::string_view text, const std::string& file_name) {
  ConfigText result;
  try {
    Flattener(file_name, result).add(toml::parse(text, file_name), "");
  } catch (const toml::parse_error& error) {
    throw_error(ErrorCode::usage, place_text(file_name, error.source().begin),
                ": not valid TOML: ", error.description());
  }
  return result;
}

std::vector<ConfigEntry> read_config_file(Fs& fs, const std::string& path) {
  std::vector<ConfigEntry> entries;
  std::vector<std::string> chain;
  add_file(fs, path, "--config", chain, entries);
  return entries;
}

ConfigValue read_toml_value(std::string_view text) {
  try {
    const toml::table table = toml::parse("value = " + std::string(text));
    // More than one key: the text held a line end and went on.
    if (table.size() == 1) return convert(*table.get("value"));
  } catch (const toml::parse_error&) {
  }
  throw BadValue{"a TOML value"};
}

}  // namespace elbo
