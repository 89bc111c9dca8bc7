#include "apps/program.h"

#include <cstdio>
#include <exception>
#include <new>

#include "apps/nearest_name.h"
#include "apps/subcommands.h"
#include "apps/version.h"
#include "engine/io/blob.h"
#include "engine/io/signals.h"
#include "kernels/error.h"

namespace elbo {
namespace {

struct Subcommand {
  CommandLine (*describe)();
  int (*run)(const Arguments&);
};

constexpr Subcommand kSubcommands[] = {
    {train_command_line, train},
    {sample_command_line, sample},
    {reconstruct_command_line, reconstruct},
    {traverse_command_line, traverse},
    {interpolate_command_line, interpolate},
    {manifold_command_line, manifold},
    {neighbours_command_line, neighbours},
    {encode_command_line, encode},
    {decode_command_line, decode},
    {scatter_command_line, scatter},
    {edit_command_line, edit},
    {compress_command_line, compress},
    {evaluate_command_line, evaluate},
    {score_command_line, score},
    {data_command_line, show_data},
    {summary_command_line, summary},
    {doctor_command_line, doctor},
};

std::string overview() {
  std::string text =
      "elbo trains autoencoders and variational autoencoders on GPUs or the CPU.\n\n"
      "Usage: elbo COMMAND [flags]\n\nCommands\n";
  for (const Subcommand& subcommand : kSubcommands) {
    const CommandLine about = subcommand.describe();
    text += "  " + about.name + std::string(13 - about.name.size(), ' ') + about.summary + "\n";
  }
  return text +
         "\nelbo COMMAND --help explains one; elbo --version says which elbo this is.\n"
         "\nExamples\n"
         "  elbo train --preset sprites --out runs/first\n"
         "  elbo sample --run runs/first\n"
         "  elbo evaluate --run runs/first\n";
}

void print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

int run_subcommand(const std::string& name, std::vector<std::string> arguments) {
  std::vector<std::string> names;
  for (const Subcommand& subcommand : kSubcommands) {
    const CommandLine about = subcommand.describe();
    names.push_back(about.name);
    if (about.name != name) continue;
    const Arguments given = parse_command_line(about, std::move(arguments));
    if (given.has("--help")) {
      print(help_text(about));
      return 0;
    }
    return subcommand.run(given);
  }
  const bool is_flag = name.starts_with("-");
  throw_error(ErrorCode::usage, is_flag ? "unknown flag " : "unknown command ", in_quotes(name),
              is_flag ? "; flags stand after the command" : did_you_mean(name, names),
              " (elbo --help lists all)");
}

int dispatch(std::vector<std::string> arguments) {
  if (arguments.empty()) {
    std::fputs(overview().c_str(), stderr);
    return static_cast<int>(ErrorCode::usage);
  }
  const std::string first = arguments.front();
  if (first == "help" && arguments.size() == 2) return run_subcommand(arguments[1], {"--help"});
  if (first == "--help" || first == "-h" || first == "help") {
    print(overview());
    return 0;
  }
  if (first == "--version") {
    print(version_text() + "\n");
    return 0;
  }
  arguments.erase(arguments.begin());
  return run_subcommand(first, std::move(arguments));
}

int report(std::string_view message, int status) {
  const WriteFailureScope scope;  // the status says more than death by SIGPIPE
  std::fprintf(stderr, "elbo: %s\n", one_line(message).c_str());
  return status;
}

std::vector<std::string>& arguments_of_process() {
  static std::vector<std::string> arguments;
  return arguments;
}

}  // namespace

const std::vector<std::string>& program_arguments() { return arguments_of_process(); }

int run_program(const std::vector<std::string>& arguments) {
  int status = 0;
  try {
    arguments_of_process() = arguments;
    status = dispatch(arguments);
    // A full disk or a closed pipe behind stdout shows up here at the latest.
    if (std::fflush(stdout) != 0) throw Error("cannot write to standard output");
  } catch (const Error& error) {
    return report(error.what(), error.exit_status());
  } catch (const std::bad_alloc&) {
    return report("out of memory; use a smaller batch, model or data set", 1);
  } catch (const std::exception& error) {
    return report(error.what(), 1);
  }
  return status;
}

}  // namespace elbo
