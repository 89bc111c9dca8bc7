#include <cstdio>

#include "apps/subcommands.h"
#include "apps/train_config.h"
#include "apps/train_session.h"
#include "engine/io/signals.h"

namespace elbo {
namespace {

void list_presets() {
  for (const Preset& preset : presets())
    std::printf("%-16s %s\n", preset.name.c_str(), preset.summary.c_str());
}

std::vector<Flag> train_flags() {
  std::vector<Flag> flags = {
      {"--preset", 0, Takes::one_value, "NAME", "Configuration",
       "start from named settings (--list-presets)", "", "ELBO_PRESET"},
      {"--config", 'c', Takes::many, "FILE", "Configuration",
       "TOML file over the preset; later files win"},
      {"--set", 0, Takes::many, "KEY=VALUE", "Configuration",
       "any key by its dotted name, like model.hidden=400,200"},
      {"--print-config", 0, Takes::nothing, "", "Configuration",
       "print the merged settings as TOML and exit"},
      {"--list-presets", 0, Takes::nothing, "", "Configuration", "name the presets and exit"}};
  for (Flag& flag : config_flags()) flags.push_back(std::move(flag));
  flags.push_back(
      {"--overwrite", 0, Takes::nothing, "", "Output", "replace the run that the directory holds"});
  flags.push_back({"--resume", 0, Takes::maybe_value, "PATH", "Output",
                   "go on with the run directory or checkpoint PATH; without PATH, or with latest, "
                   "with the run at --out"});
  flags.push_back({"--quiet", 'q', Takes::nothing, "", "Output", "print warnings only"});
  return flags;
}

}  // namespace

CommandLine train_command_line() {
  CommandLine command;
  command.name = "train";
  command.summary = "train a model and leave a run directory";
  command.flags = train_flags();
  command.notes = keys_without_flags_text() +
                  "\nWhere settings come from, later wins: defaults, --preset, --config, "
                  "ELBO_...\nvariables, flags and --set.\n"
                  "Ctrl-C finishes the step, writes a checkpoint and says how to go on.\n";
  command.examples = {
      "elbo train --preset sprites --out runs/first  # no data set needed",
      "elbo train --preset mlp-mnist --data ~/mnist -z 2 --epochs 20  # two latents",
      "elbo train --resume runs/first  # go on where it stopped",
  };
  return command;
}

int train(const Arguments& arguments) {
  if (arguments.has("--list-presets")) {
    list_presets();
    return 0;
  }
  Fs& fs = real_fs();
  PlannedRun plan = plan_run(fs, arguments, process_environment());
  if (arguments.has("--print-config")) {
    std::fputs(config_toml(plan.merged.config).c_str(), stdout);
    return 0;
  }
  // From the first line on stderr on: training must not end because nobody reads what it says.
  const WriteFailureScope scope;
  return TrainSession(fs, std::move(plan), arguments.has("--overwrite"), arguments.has("--quiet"))
      .run();
}

}  // namespace elbo
