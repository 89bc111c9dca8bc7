#include "apps/train_config.h"

#include <array>
#include <ctime>
#include <filesystem>

#include "apps/config_keys.h"
#include "engine/io/blob.h"

namespace elbo {
namespace {

// What may change when a run goes on: how long, how often, how much to keep, and where.
bool may_change(const std::string& key) {
  static const std::set<std::string> keys = {"train.epochs", "train.max_steps", "data.path",
                                             "data.cache",   "data.device_mb",  "device",
                                             "threads",      "check_finite",    "profile"};
  return keys.contains(key) || key.starts_with("output.");
}

std::vector<CommandLineSetting> command_line_settings(const Arguments& arguments) {
  std::vector<CommandLineSetting> settings;
  for (const ConfigKey& key : config_keys()) {
    if (key.flag.empty() || !arguments.has(key.flag)) continue;
    settings.push_back({key.name, key.value.empty() ? "true" : arguments.text(key.flag), key.flag});
  }
  for (const std::string& argument : arguments.all("--set"))
    settings.push_back(parse_set_argument(argument));
  return settings;
}

// By its absolute name: a checkpoint may be named from within checkpoints/.
std::string run_of_checkpoint(const std::string& path) {
  std::filesystem::path name = std::filesystem::absolute(path).lexically_normal();
  if (!name.has_filename()) name = name.parent_path();  // of "." in a checkpoint
  return name.parent_path().parent_path().string();
}

// --resume says where: a run directory, one of its checkpoints, or nothing (then --out or --name do).
ResumePoint find_resume_point(Fs& fs, const std::string& given, const RunConfig& config) {
  std::string path = given;
  if (path.empty() || path == "latest") {
    if (config.output.dir.empty() && config.output.name.empty()) {
      throw Error(ErrorCode::usage,
                  "--resume: which run? Name it: --resume DIR, or --out DIR --resume");
    }
    path = run_directory(config);
  }
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  const std::string checkpoints = join_path(path, "checkpoints");
  ResumePoint point;
  if (leads_to_directory(fs, checkpoints)) {
    point.checkpoint = load_latest_checkpoint(fs, checkpoints);
    point.run_dir = path;
    return point;
  }
  if (exists(fs, join_path(path, "state.json"))) {
    point.checkpoint = load_checkpoint(fs, path);
    point.run_dir = run_of_checkpoint(path);
    return point;
  }
  throw_error(ErrorCode::usage, "--resume: ", path,
              " holds no checkpoints/; name the directory of a run, or one of its checkpoints");
}

void check_same_run(const RunConfig& now, const RunConfig& then, const ResumePoint& resume) {
  for (const ConfigKey& key : config_keys()) {
    const std::string wanted = key.toml(now), had = key.toml(then);
    if (wanted == had || may_change(key.name)) continue;
    throw_error(ErrorCode::usage, "--resume: ", key.name, " is ", wanted, " here and ", had, " in ",
                resume.run_dir, "; leave it as it was, or start a new run");
  }
}

const CommandLineSetting* find_setting(const ConfigSources& sources, std::string_view key) {
  for (const CommandLineSetting& setting : sources.settings)
    if (setting.key == key) return &setting;
  return nullptr;
}

// What one command line says twice must agree. Files and the environment hold standing wishes,
// which a flag overrides without a word.
void check_same_place(const ConfigSources& sources, const RunConfig& config,
                      const ResumePoint& resume) {
  const CommandLineSetting* place = find_setting(sources, "output.dir");
  if (place == nullptr) place = find_setting(sources, "output.name");
  if (place == nullptr) return;
  std::error_code not_there;
  if (std::filesystem::equivalent(run_directory(config), resume.run_dir, not_there)) return;
  throw_error(ErrorCode::usage, place->place, ": found ", in_quotes(place->text),
              ", but --resume goes on with ", resume.run_dir, " in its own directory; drop one");
}

void check_data_is_used(const ConfigSources& sources, const RunConfig& config) {
  const CommandLineSetting* data = find_setting(sources, "data.path");
  if (data == nullptr || data->text.empty() || config.data.kind != DataKind::sprites) return;
  throw_error(ErrorCode::usage, data->place, ": found ", in_quotes(data->text),
              ", but data.kind is \"sprites\", which are made and not read; to read images add "
              "--set data.kind=images");
}

void choose_machine(PlannedRun& plan) {
  const std::set<std::string>& given = plan.merged.given;
  plan.device = plan.merged.config.device;
  plan.threads = plan.merged.config.threads;
  if (!plan.resume) return;
  const RunState& state = plan.resume->checkpoint.state;
  if (!given.contains("threads")) plan.threads = state.threads;
  if (!given.contains("device")) plan.device = state.device;
}

// A default as --help shows it: text without its quotes.
std::string shown(const ConfigKey& key, const RunConfig& defaults) {
  const std::string text = key.toml(defaults);
  return text.starts_with('"') ? text.substr(1, text.size() - 2) : text;
}

}  // namespace

std::vector<Flag> config_flags() {
  const RunConfig defaults;
  std::vector<Flag> flags;
  for (const char* group : {"Data", "Model", "Training", "Output", "Device", "Debug"}) {
    for (const ConfigKey& key : config_keys()) {
      if (key.flag.empty() || key.group != group) continue;
      const bool is_switch = key.value.empty();
      flags.push_back({key.flag, key.letter, is_switch ? Takes::nothing : Takes::one_value,
                       key.value, key.group, key.full_doc(), is_switch ? "" : shown(key, defaults),
                       key.environment()});
    }
  }
  return flags;
}

std::string keys_without_flags_text() {
  const RunConfig defaults;
  std::string text =
      "Keys without a flag, for --set KEY=VALUE and TOML files. In the environment,\n"
      "model.hidden is ELBO_MODEL_HIDDEN, and so on.\n";
  for (const ConfigKey& key : config_keys()) {
    if (!key.flag.empty()) continue;
    text += help_entry("  " + key.name, key.full_doc(), "default " + shown(key, defaults));
  }
  return text +
         "\nA schedule is a number or a table, for example\n"
         "--lr '{kind=\"warmup\", base=1e-3, start=0, steps=500}'. Kinds: constant, warmup,\n"
         "cyclical, cosine, stages.\n";
}

std::string run_directory(const RunConfig& config) {
  if (!config.output.dir.empty()) return config.output.dir;
  if (!config.output.name.empty()) return join_path("runs", config.output.name);
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y%m%d-%H%M%S", &local);
  return concat("runs/", text.data(), config.preset.empty() ? "" : "-", config.preset);
}

PlannedRun plan_run(Fs& fs, const Arguments& arguments, std::vector<std::string> environment) {
  ConfigSources sources;
  sources.preset = arguments.text("--preset");
  sources.files = arguments.all("--config");
  sources.environment = std::move(environment);
  sources.settings = command_line_settings(arguments);
  PlannedRun plan;
  plan.merged = merge_config(fs, sources);
  choose_machine(plan);
  if (!arguments.has("--resume")) {
    check_data_is_used(sources, plan.merged.config);
    return plan;
  }
  if (arguments.has("--overwrite"))
    throw Error(ErrorCode::usage, "--overwrite and --resume exclude each other; drop one");
  plan.resume = find_resume_point(fs, arguments.text("--resume"), plan.merged.config);
  const LoadedCheckpoint& checkpoint = plan.resume->checkpoint;
  const RunConfig then =
      parse_written_config(checkpoint.config_toml, checkpoint.path + "/config.toml");
  // Without a preset or file the run's own configuration is what flags are laid over.
  if (plan.merged.config.preset.empty() && sources.files.empty()) {
    sources.defaults = then;
    plan.merged = merge_config(fs, sources);
  }
  RunConfig& config = plan.merged.config;
  check_same_place(sources, config, *plan.resume);
  check_data_is_used(sources, config);
  config.output.dir = plan.resume->run_dir;
  check_same_run(config, then, *plan.resume);
  choose_machine(plan);
  return plan;
}

}  // namespace elbo
