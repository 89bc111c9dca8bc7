// What a stranger reads.
#include <gtest/gtest.h>

#include "apps/config_keys.h"
#include "apps/subcommands.h"
#include "tests/apps/program_fixture.h"

namespace elbo::testing_apps {
namespace {

const Strings kSubcommands = {"train",    "sample",     "reconstruct", "traverse", "interpolate",
                              "manifold", "neighbours", "encode",      "decode",   "scatter",
                              "edit",     "compress",   "score",       "evaluate", "data",
                              "summary",  "doctor"};

TEST(Help, OfTrainMentionsEveryKeyItsFlagAndItsVariable) {
  const std::string help = run_in_process({"train", "--help"}).out;
  for (const ConfigKey& key : config_keys()) {
    const std::string name = key.flag.empty() ? key.name : key.flag;
    EXPECT_NE(help.find(name), std::string::npos) << key.name;
    if (!key.flag.empty()) {
      EXPECT_NE(help.find(key.environment()), std::string::npos) << key.name;
    }
  }
}

TEST(Help, FitsEightyColumns) {
  for (const std::string& subcommand : kSubcommands) {
    std::istringstream help(run_in_process({subcommand, "--help"}).out);
    for (std::string line; std::getline(help, line);)
      EXPECT_LE(line.size(), 80u) << subcommand << ": " << line;
  }
  std::istringstream overview(run_in_process({"--help"}).out);
  for (std::string line; std::getline(overview, line);) EXPECT_LE(line.size(), 80u) << line;
}

TEST(Help, GoesToStdoutWithStatusZero) {
  for (const std::string& subcommand : kSubcommands) {
    const Outcome outcome = run_in_process({subcommand, "-h"});
    EXPECT_EQ(outcome.status, 0);
    EXPECT_EQ(outcome.err, "");
    EXPECT_EQ(outcome.out.rfind("elbo " + subcommand + ": ", 0), 0u) << outcome.out;
    EXPECT_EQ(run_in_process({"help", subcommand}).out, outcome.out);
  }
}

TEST(Help, EndsWithThreeExamplesThatParse) {
  using Describe = CommandLine (*)();
  for (const Describe describe :
       {train_command_line, sample_command_line, reconstruct_command_line, traverse_command_line,
        interpolate_command_line, manifold_command_line, neighbours_command_line,
        encode_command_line, decode_command_line, scatter_command_line, edit_command_line,
        compress_command_line, score_command_line, evaluate_command_line, data_command_line,
        summary_command_line, doctor_command_line}) {
    const CommandLine command = describe();
    EXPECT_EQ(command.examples.size(), 3u) << command.name;
    for (const std::string& example : command.examples) {
      std::istringstream words(example.substr(0, example.find_first_of("#|")));
      Strings arguments;
      for (std::string word; words >> word;) arguments.push_back(word);
      ASSERT_GE(arguments.size(), 2u);
      EXPECT_EQ(arguments[0], "elbo");
      EXPECT_EQ(arguments[1], command.name);
      arguments.erase(arguments.begin(), arguments.begin() + 2);
      EXPECT_NO_THROW(parse_command_line(command, arguments)) << example;
    }
  }
}

TEST(Help, FlagsAreDistinct) {
  const CommandLine command = train_command_line();
  std::set<std::string> names;
  std::set<char> letters = {'h'};
  for (const Flag& flag : command.flags) {
    EXPECT_TRUE(names.insert(flag.name).second) << flag.name;
    if (flag.letter != 0) {
      EXPECT_TRUE(letters.insert(flag.letter).second) << flag.name;
    }
  }
}

}  // namespace
}  // namespace elbo::testing_apps
