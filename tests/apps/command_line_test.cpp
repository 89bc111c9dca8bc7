#include "apps/command_line.h"

#include <gtest/gtest.h>

#include "kernels/error.h"

namespace elbo {
namespace {

CommandLine example() {
  CommandLine command;
  command.name = "try";
  command.flags = {
      {"--batch-size", 'b', Takes::one_value, "N", "G", "images"},
      {"--quiet", 'q', Takes::nothing, "", "G", "less"},
      {"--resume", 0, Takes::maybe_value, "PATH", "G", "go on"},
      {"--set", 0, Takes::many, "K=V", "G", "set"},
      {"--range", 0, Takes::one_value, "A..B", "G", "range"},
  };
  return command;
}

Arguments parsed(const std::vector<std::string>& arguments) {
  return parse_command_line(example(), arguments);
}

std::string error_of(const std::vector<std::string>& arguments) {
  try {
    parsed(arguments);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    return error.what();
  }
  return "no error";
}

TEST(CommandLine, UnderstandsEverySpelling) {
  const std::vector<std::vector<std::string>> spellings = {
      {"--batch-size", "64"}, {"--batch-size=64"}, {"--batch_size", "64"},
      {"--batch_size=64"},    {"-b", "64"},        {"-b64"},
      {"-qb", "64"}};
  for (const std::vector<std::string>& spelling : spellings)
    EXPECT_EQ(parsed(spelling).text("--batch-size"), "64") << spelling[0];
}

TEST(CommandLine, LeavesUnderscoresInValuesAlone) {
  EXPECT_EQ(parsed({"--set", "train.batch_size=3"}).text("--set"), "train.batch_size=3");
  EXPECT_EQ(parsed({"--set=train.batch_size=3"}).text("--set"), "train.batch_size=3");
}

TEST(CommandLine, KeepsRepeatedValuesInOrder) {
  EXPECT_EQ(parsed({"--set", "a=1", "-q", "--set", "b=2"}).all("--set"),
            (std::vector<std::string>{"a=1", "b=2"}));
}

TEST(CommandLine, TakesNegativeNumbersForValues) {
  EXPECT_EQ(parsed({"--range", "-3..3"}).text("--range"), "-3..3");
  EXPECT_EQ(parsed({"--batch-size", "-3"}).text("--batch-size"), "-3");
}

TEST(CommandLine, AValueMayBeLeftOutWhereItIsOptional) {
  EXPECT_FALSE(parsed({}).has("--resume"));
  EXPECT_TRUE(parsed({"--resume"}).has("--resume"));
  EXPECT_EQ(parsed({"--resume"}).text("--resume"), "");
  EXPECT_EQ(parsed({"--resume", "runs/a"}).text("--resume"), "runs/a");
  EXPECT_EQ(parsed({"--resume=runs/a"}).text("--resume"), "runs/a");
  const Arguments followed = parsed({"--resume", "-b", "3"});
  EXPECT_EQ(followed.text("--resume"), "");
  EXPECT_EQ(followed.text("--batch-size"), "3");
}

TEST(CommandLine, HelpWinsOverMistakes) {
  EXPECT_TRUE(parsed({"--help"}).has("--help"));
  EXPECT_TRUE(parsed({"-h", "--nonsense"}).has("--help"));
}

TEST(CommandLine, ExplainsMistakes) {
  EXPECT_EQ(
      error_of({"--btach-size", "3"}),
      "try: unknown flag --btach-size; did you mean --batch-size? (elbo try --help lists all)");
  EXPECT_EQ(error_of({"word"}), "try: found \"word\", expected a flag (elbo try --help lists all)");
  EXPECT_EQ(error_of({"--batch-size"}),
            "--batch-size: a value is missing, expected --batch-size N");
  EXPECT_EQ(error_of({"-b"}), "--batch-size: a value is missing, expected --batch-size N");
  EXPECT_EQ(error_of({"-b", "1", "-b", "2"}),
            "--batch-size: given 2 times (\"1\", \"2\"); give it once");
  EXPECT_EQ(error_of({"-x"}), "try: unknown flag -x (elbo try --help lists all)");
}

TEST(CommandLine, SwitchesTakeNoValue) {
  EXPECT_TRUE(parsed({"-q", "--quiet"}).has("--quiet"));
  EXPECT_EQ(error_of({"--quiet=false"}), "--quiet: found =false, but it takes no value");
  EXPECT_EQ(error_of({"--quiet=3"}), "--quiet: found =3, but it takes no value");
  EXPECT_EQ(
      error_of({"-q=1"}),
      "try: found \"=1\" after a one-letter flag that takes no value (elbo try --help lists all)");
}

TEST(CommandLine, ChecksNumbers) {
  const Arguments arguments = parsed({"--batch-size", "64", "--range", "6x"});
  EXPECT_EQ(arguments.integer("--batch-size", 1, 1, 100), 64);
  EXPECT_EQ(arguments.integer("--other", 7, 1, 100), 7);
  EXPECT_EQ(arguments.number("--batch-size", 1, 0, 100), 64.0);
  EXPECT_THROW(arguments.integer("--batch-size", 1, 1, 63), Error);
  EXPECT_THROW(arguments.integer("--range", 1, 1, 100), Error);
  EXPECT_THROW(arguments.number("--range", 1, 1, 100), Error);
  EXPECT_THROW(arguments.required("--other", "give it"), Error);
}

TEST(CommandLine, NotANumberIsNoNumber) {
  const Arguments arguments = parsed({"--batch-size", "nan"});
  EXPECT_THROW(arguments.number("--batch-size", 1, 0, 100), Error);
}

}  // namespace
}  // namespace elbo
