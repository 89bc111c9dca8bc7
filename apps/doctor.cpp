#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/doctor_facts.h"
#include "apps/subcommands.h"
#include "apps/threads.h"
#include "engine/context.h"
#include "engine/io/blob.h"
#include "kernels/error.h"

namespace elbo {
namespace {

using Json = nlohmann::ordered_json;

std::string table_text(const std::vector<Fact>& facts) {
  constexpr size_t kValueColumn = 20;
  std::string text;
  for (const Fact& fact : facts) {
    std::string name = fact.name;
    std::replace(name.begin(), name.end(), '_', ' ');
    name.resize(std::max(name.size() + 1, kValueColumn), ' ');
    text += name + one_line(fact.value) + "\n";
    if (fact.health == Health::fine) continue;
    const char* word = fact.health == Health::note ? "note: " : "trouble: ";
    text += std::string(kValueColumn, ' ') + word + fact.hint + "\n";
  }
  return text;
}

std::string json_text(const std::vector<Fact>& facts, bool usable) {
  Json json;
  json["usable"] = usable;
  for (const Fact& fact : facts) {
    json[fact.name] = fact.value;
    if (fact.health != Health::fine) json[fact.name + "_hint"] = fact.hint;
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

// What is wrong with --device, if anything; a misspelt one is an error at once.
std::optional<Error> device_trouble(const std::string& request) {
  try {
    choose_device(request);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::usage) throw;
    return error;
  }
  return std::nullopt;
}

}  // namespace

CommandLine doctor_command_line() {
  CommandLine command;
  command.name = "doctor";
  command.summary = "say what this machine offers and what stands in the way";
  const std::string group = "Checks";
  command.flags = {
      {"--device", 0, Takes::one_value, "DEVICE", group, "fail if this device cannot be used",
       "auto"},
      {"--data", 0, Takes::one_value, "DIR", group, "also read these images"},
      {"--out", 0, Takes::one_value, "DIR", group, "where runs are to be written", "runs"},
      {"--threads", 0, Takes::one_value, "N", group, "CPU threads; 0: as many as are allowed", "0"},
      {"--json", 0, Takes::nothing, "", group, "one JSON object in place of the table"},
  };
  command.notes = "The exit status is 0 if training can work here.\n";
  command.examples = {"elbo doctor", "elbo doctor --data ~/mnist --device cuda",
                      "elbo doctor --json | jq .device_auto"};
  return command;
}

int doctor(const Arguments& arguments) {
  const std::optional<Error> device_error = device_trouble(arguments.text("--device", "auto"));
  constexpr int64_t kMostThreads = 1024;
  use_threads(static_cast<int>(arguments.integer("--threads", 0, 0, kMostThreads)));
  std::vector<Fact> facts;
  const auto add = [&](std::vector<Fact> more) {
    facts.insert(facts.end(), more.begin(), more.end());
  };
  add(build_facts());
  add(cuda_facts());
  add(cpu_facts());
  add(product_facts());
  add(disk_facts(arguments.text("--out", "runs")));
  add(data_facts(arguments.text("--data")));
  const bool usable = !device_error &&
                      std::none_of(facts.begin(), facts.end(),
                                   [](const Fact& fact) { return fact.health == Health::trouble; });
  const std::string text = arguments.has("--json") ? json_text(facts, usable) : table_text(facts);
  std::fwrite(text.data(), 1, text.size(), stdout);
  if (device_error) throw *device_error;
  if (usable) return 0;
  const bool data_trouble = facts.back().health == Health::trouble;
  return static_cast<int>(data_trouble ? ErrorCode::data : ErrorCode::failure);
}

}  // namespace elbo
