#include "engine/io/checkpoint_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <tuple>

#include "engine/io/checkpoint.h"

namespace elbo {
namespace {

constexpr std::string_view kPrefix = "step_";

}  // namespace

std::string checkpoint_name(int64_t step) { return fmt::format("{}{:08d}", kPrefix, step); }

int64_t checkpoint_step(std::string_view name) {
  if (!name.starts_with(kPrefix)) return -1;
  int64_t step = -1;
  std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), step);
  // Other spellings of the number ("step_7") would be a second name for one step.
  return step >= 0 && name == checkpoint_name(step) ? step : -1;
}

std::vector<CheckpointEntry> list_checkpoint_entries(Fs& fs, const std::string& directory) {
  std::vector<CheckpointEntry> entries;
  if (!exists(fs, directory)) return entries;
  for (const std::string& name : list_directory(fs, directory)) {
    const bool replaced = name.ends_with(kReplaced);
    const auto base = name.substr(0, name.size() - (replaced ? kReplaced.size() : 0));
    const int64_t step = checkpoint_step(base);
    if (step < 0 || !is_directory(fs, join_path(directory, name))) continue;
    entries.push_back({name, step, replaced});
  }
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    return std::tuple(-a.step, a.replaced) < std::tuple(-b.step, b.replaced);
  });
  return entries;
}

std::vector<std::string> list_checkpoints(Fs& fs, const std::string& directory) {
  std::vector<std::string> names;
  for (const CheckpointEntry& entry : list_checkpoint_entries(fs, directory)) {
    if (!entry.replaced) names.push_back(entry.name);
  }
  std::reverse(names.begin(), names.end());
  return names;
}

}  // namespace elbo
