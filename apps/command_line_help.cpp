#include <algorithm>

#include "apps/command_line.h"

namespace elbo {
namespace {

constexpr size_t kWidth = 80;
constexpr size_t kDocColumn = 28;  // fits "  -b, --batch-size N" and most others

std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words;
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    if (end > begin) words.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

std::string flag_head(const Flag& flag) {
  std::string head = flag.letter == 0 ? "      " : std::string("  -") + flag.letter + ", ";
  head += flag.name;
  if (flag.takes == Takes::maybe_value) return head + " [" + flag.value + "]";
  if (flag.takes != Takes::nothing) head += " " + flag.value;
  return head;
}

std::string flag_text(const Flag& flag) {
  std::string facts;
  if (!flag.fallback.empty()) facts = "default " + flag.fallback;
  if (flag.takes == Takes::many) facts += (facts.empty() ? "" : ", ") + std::string("repeatable");
  if (!flag.environment.empty()) facts += (facts.empty() ? "" : ", ") + flag.environment;
  return help_entry(flag_head(flag), flag.doc, facts);
}

std::string operand_text(const CommandLine& command) {
  for (const Flag& flag : command.flags)
    if (flag.name == command.operand) return " " + flag.value;
  return "";
}

std::string examples_text(const std::vector<std::string>& examples) {
  std::string text;
  for (const std::string& example : examples) {
    const size_t comment = example.find("  # ");
    if (comment != std::string::npos) text += "  " + example.substr(comment + 2) + "\n";
    text += "  " + example.substr(0, comment) + "\n";
  }
  return text;
}

}  // namespace

std::string help_entry(std::string head, const std::string& text, const std::string& facts) {
  std::string out;
  if (head.size() + 2 > kDocColumn) {
    out = head + "\n";
    head.clear();
  }
  std::string line = head + std::string(kDocColumn - head.size(), ' ');
  bool fresh = true;
  std::vector<std::string> words = words_of(text);
  if (!facts.empty()) words.push_back("[" + facts + "]");  // never broken
  for (const std::string& word : words) {
    if (!fresh && line.size() + 1 + word.size() > kWidth) {
      out += line + "\n";
      line = std::string(kDocColumn, ' ');
      fresh = true;
    }
    line += (fresh ? "" : " ") + word;
    fresh = false;
  }
  return out + line + "\n";
}

std::string help_text(const CommandLine& command) {
  std::string text = "elbo " + command.name + ": " + command.summary + "\n";
  text += "\nUsage: elbo " + command.name + operand_text(command) + " [flags]\n";
  std::vector<std::string> groups;
  for (const Flag& flag : command.flags) {
    if (std::find(groups.begin(), groups.end(), flag.group) == groups.end())
      groups.push_back(flag.group);
  }
  for (const std::string& group : groups) {
    text += "\n" + group + "\n";
    for (const Flag& flag : command.flags)
      if (flag.group == group) text += flag_text(flag);
  }
  if (!command.notes.empty()) text += "\n" + command.notes;
  if (!command.examples.empty()) text += "\nExamples\n" + examples_text(command.examples);
  return text;
}

}  // namespace elbo
