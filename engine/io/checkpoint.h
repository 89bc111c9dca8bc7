// Checkpoints that survive power cuts, full disks and kill -9.
//
//   checkpoints/step_00000938/model.safetensors      weights and buffers, PyTorch's names
//                             optimizer.safetensors  moments
//                             config.toml            the configuration, to repeat the run from
//                             state.json             RunState and the checksums of the other files
//   checkpoints/latest -> step_00000938              last one saved
//   checkpoints/best   -> step_00000469              the one with the best metric
//
// Commit    every file is written and synced in step_X.tmp/, then that directory is synced, renamed
//           and its parent synced; then the links are replaced and synced; only then are older
//           checkpoints removed. When save() returns, the checkpoint survives a power cut, and
//           at every moment in between the one before it does.
// Loading   `latest` first, then the others from the newest down; each is verified byte by byte
//           (CRC-32 per file; per tensor too, to name what is damaged).
// Output    depends on the contents only, so equal runs leave equal bytes.
// Errors    ErrorCode::failure when a save fails (the previous checkpoint is untouched),
//           ErrorCode::data when nothing can be loaded
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/io/blob.h"
#include "engine/io/file_ops.h"
#include "engine/io/run_state.h"
#include "engine/io/safetensors.h"

namespace elbo {

struct CheckpointContents {
  std::span<const NamedBlob> model;
  std::span<const NamedBlob> optimizer;
  RunState state;
  std::string_view config_toml;
};

struct SavedCheckpoint {
  std::string path;
  std::vector<std::string> warnings;  // what could not be removed, and why
};

class CheckpointWriter {
 public:
  // `directory` is created now; when it is gone later, a save fails. `keep` >= 2 of the newest are
  // kept, and the best one: with one alone, damage to it would leave nothing to fall back to.
  CheckpointWriter(Fs& fs, std::string directory, int keep = 2);

  // Saves as step_<state.step>. A checkpoint of a later step belongs to a future that this run has
  // turned away from (it was resumed from before it): it is removed once this one is safe.
  SavedCheckpoint save(const CheckpointContents& contents, bool is_best);

 private:
  void clear_leftovers();
  void write_files(const std::string& directory, const CheckpointContents& contents);
  void take_name(const std::string& name);
  void point_link(std::string_view link, const std::string& name);
  void publish(const std::string& name, bool is_best);
  void remove_old(const std::string& newest);
  void retire(const std::string& name);
  std::string path(std::string_view name) const { return join_path(directory_, name); }

  Fs& fs_;
  std::string directory_;
  size_t keep_;
};

struct LoadedCheckpoint {
  std::string path;
  RunState state;
  std::string config_toml;
  SafetensorsFile model;
  SafetensorsFile optimizer;
  std::vector<std::string> warnings;  // newer checkpoints that were passed over, and why
};

// One checkpoint directory, or a link to one.
LoadedCheckpoint load_checkpoint(Fs& fs, const std::string& path);

// The newest good one under `checkpoints/`.
LoadedCheckpoint load_latest_checkpoint(Fs& fs, const std::string& directory);

// Names of the finished checkpoints ("step_00000938"), oldest first; empty if there are none.
std::vector<std::string> list_checkpoints(Fs& fs, const std::string& directory);

std::string checkpoint_name(int64_t step);       // "step_00000938"
int64_t checkpoint_step(std::string_view name);  // -1 if it is not such a name

}  // namespace elbo
