// The only file that includes CLI11, which is slow to compile. It splits arguments into flags and
// values; what to accept and what to say about the rest is decided here.
#include <CLI/CLI.hpp>
#include <charconv>
#include <cmath>

#include "apps/command_line.h"
#include "apps/nearest_name.h"
#include "engine/io/blob.h"
#include "kernels/error.h"

namespace elbo {
namespace {

constexpr const char* kHelp = "--help";

// People who come from Python programs write --batch_size.
void use_dashes(std::string& argument) {
  if (!argument.starts_with("--")) return;
  const auto end =
      argument.begin() + static_cast<long>(std::min(argument.find('='), argument.size()));
  std::replace(argument.begin(), end, '_', '-');
}

CLI::Option* declare(CLI::App& app, const Flag& flag) {
  const std::string names = flag.letter == 0 ? flag.name : concat("-", flag.letter, ",", flag.name);
  if (flag.takes == Takes::nothing) return app.add_flag(names);
  CLI::Option* option = app.add_option(names);
  // Any number of times: CLI11's own message about repetition would name no value.
  option->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  if (flag.takes == Takes::maybe_value)
    option->expected(0, 1);
  else
    option->type_size(1)->allow_extra_args(false);
  return option;
}

[[noreturn]] void refuse(const CommandLine& command, const std::string& argument) {
  const std::string flag = argument.substr(0, argument.find('='));
  const std::string help = concat(" (elbo ", command.name, " --help lists all)");
  if (flag == "-" && argument != flag) {  // CLI11's rest of -q=1
    throw_error(ErrorCode::usage, command.name, ": found ", in_quotes(argument.substr(1)),
                " after a one-letter flag that takes no value", help);
  }
  if (!flag.starts_with("-")) {
    throw_error(ErrorCode::usage, command.name, ": found ", in_quotes(argument),
                ", expected a flag", help);
  }
  std::vector<std::string> known = {kHelp};
  for (const Flag& entry : command.flags) known.push_back(entry.name);
  throw_error(ErrorCode::usage, command.name, ": unknown flag ", flag, did_you_mean(flag, known),
              help);
}

// CLI11 would take --quiet=false for a way to say no.
void check_bare(const Flag& flag, const std::vector<std::string>& values) {
  for (const std::string& value : values) {
    if (value != "true")
      throw_error(ErrorCode::usage, flag.name, ": found =", value, ", but it takes no value");
  }
}

void check_repetition(const Flag& flag, const std::vector<std::string>& values) {
  if (values.size() < 2 || flag.takes == Takes::many || flag.takes == Takes::nothing) return;
  throw_error(ErrorCode::usage, flag.name, ": given ", values.size(), " times (",
              in_quotes(values[0]), ", ", in_quotes(values[1]), "); give it once");
}

// CLI11 knows no better than "--epochs: 1 required TEXT missing".
[[noreturn]] void explain(const CommandLine& command, const CLI::ParseError& error) {
  const std::string text = error.what();
  for (const Flag& flag : command.flags) {
    if (text.starts_with(flag.name + ":"))
      throw_error(ErrorCode::usage, flag.name, ": a value is missing, expected ", flag.name, " ",
                  flag.value);
  }
  throw_error(ErrorCode::usage, command.name, ": ", text);
}

template <class Number>
Number parse(const std::string& flag, const std::string& text, Number low, Number high,
             const char* kind) {
  Number number{};
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, number);
  const bool whole = result.ec == std::errc{} && result.ptr == end;
  if (!whole || !(number >= low && number <= high)) {
    throw_error(ErrorCode::usage, flag, ": found ", in_quotes(text), ", expected ", kind, " from ",
                low, " to ", high);
  }
  return number;
}

}  // namespace

Arguments parse_command_line(const CommandLine& command, std::vector<std::string> arguments) {
  for (std::string& argument : arguments) use_dashes(argument);
  CLI::App app;
  app.set_help_flag();  // help_text() instead
  app.allow_extras();
  const CLI::Option* help = app.add_flag("-h,--help");
  std::vector<std::pair<const Flag*, const CLI::Option*>> options;
  for (const Flag& flag : command.flags) options.emplace_back(&flag, declare(app, flag));
  try {
    std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
    app.parse(arguments);
  } catch (const CLI::ParseError& error) {
    explain(command, error);
  }
  Arguments given;
  if (help->count() > 0) given.add(kHelp, "");
  std::vector<std::string> rest = app.remaining();
  if (!command.operand.empty() && !rest.empty() && !rest.front().starts_with("-")) {
    given.add(command.operand, rest.front());
    rest.erase(rest.begin());
  }
  if (help->count() == 0 && !rest.empty()) refuse(command, rest.front());
  for (const auto& [flag, option] : options) {
    if (option->count() == 0) continue;
    const std::vector<std::string>& values = option->results();
    if (given.has(flag->name) && flag->name == command.operand) {
      check_repetition(*flag, {given.text(flag->name), values.front()});
    }
    if (flag->takes == Takes::nothing) check_bare(*flag, values);
    check_repetition(*flag, values);
    if (values.empty()) given.add(flag->name, "");
    for (const std::string& value : values) given.add(flag->name, value);
  }
  return given;
}

std::string Arguments::text(const std::string& flag, const std::string& fallback) const {
  const auto found = given_.find(flag);
  return found == given_.end() ? fallback : found->second.back();
}

std::vector<std::string> Arguments::all(const std::string& flag) const {
  const auto found = given_.find(flag);
  return found == given_.end() ? std::vector<std::string>{} : found->second;
}

int64_t Arguments::integer(const std::string& flag, int64_t fallback, int64_t low,
                           int64_t high) const {
  return has(flag) ? parse<int64_t>(flag, text(flag), low, high, "an integer") : fallback;
}

double Arguments::number(const std::string& flag, double fallback, double low, double high) const {
  return has(flag) ? parse<double>(flag, text(flag), low, high, "a number") : fallback;
}

std::string Arguments::required(const std::string& flag, const std::string& what_to_do) const {
  const std::string value = text(flag);
  if (value.empty()) throw_error(ErrorCode::usage, flag, " is missing; ", what_to_do);
  return value;
}

}  // namespace elbo
