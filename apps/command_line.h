// The flags of a subcommand as a table, from which parsing and --help both come.
//
// Spelling  --batch-size 64, --batch-size=64, --batch_size=64, -b 64, -b64
// Errors    ErrorCode::usage: the flag, what was found, what was expected
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace elbo {

enum class Takes {
  nothing,
  one_value,
  maybe_value,  // --resume, --resume latest
  many,         // may be repeated, one value each
};

struct Flag {
  std::string name;  // "--batch-size"
  char letter = 0;   // 'b'
  Takes takes = Takes::one_value;
  std::string value;  // in --help: "N"
  std::string group;  // heading in --help; headings stand in the order of their first flag
  std::string doc;
  std::string fallback = {};     // the default, as shown in --help
  std::string environment = {};  // as shown in --help
};

struct CommandLine {
  std::string name;     // "train"
  std::string summary;  // one line of at most 66 characters
  std::vector<Flag> flags;
  std::vector<std::string> examples;  // each "command line" or "command line  # what it does"
  std::string notes;                  // between flags and examples; may be empty
  std::string operand = {};           // flag that an argument without one stands for; may be empty
};

// What was given. Names are as in Flag::name.
class Arguments {
 public:
  void add(const std::string& flag, std::string value) { given_[flag].push_back(std::move(value)); }

  bool has(const std::string& flag) const { return given_.contains(flag); }
  std::string text(const std::string& flag, const std::string& fallback = "") const;
  std::vector<std::string> all(const std::string& flag) const;

  // These check type and bounds.
  int64_t integer(const std::string& flag, int64_t fallback, int64_t low, int64_t high) const;
  double number(const std::string& flag, double fallback, double low, double high) const;

  // The text of a flag that the subcommand cannot do without.
  std::string required(const std::string& flag, const std::string& what_to_do) const;

 private:
  std::map<std::string, std::vector<std::string>> given_;
};

// `arguments` without program and subcommand. "--help" is always understood and appears as a flag.
Arguments parse_command_line(const CommandLine& command, std::vector<std::string> arguments);

// Fits 80 columns.
std::string help_text(const CommandLine& command);

// One entry of it: `head` on the left, `text` wrapped on the right, then "[facts]" if there are any.
std::string help_entry(std::string head, const std::string& text, const std::string& facts);

}  // namespace elbo
