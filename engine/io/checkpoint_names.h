// Names inside a checkpoints/ directory, shared by the writer and the loader.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/io/fs.h"

namespace elbo {

inline constexpr std::string_view kModelFile = "model.safetensors";
inline constexpr std::string_view kOptimizerFile = "optimizer.safetensors";
inline constexpr std::string_view kConfigFile = "config.toml";
inline constexpr std::string_view kStateFile = "state.json";
inline constexpr std::string_view kLatestLink = "latest";
inline constexpr std::string_view kBestLink = "best";
inline constexpr std::string_view kUnfinished = ".tmp";  // being written or being removed
inline constexpr std::string_view kReplaced = ".old";    // the same step, about to be replaced

struct CheckpointEntry {
  std::string name;
  int64_t step = 0;
  bool replaced = false;  // the name ends in .old
};

// Checkpoint directories, newest first; a replaced copy follows its step.
std::vector<CheckpointEntry> list_checkpoint_entries(Fs& fs, const std::string& directory);

}  // namespace elbo
