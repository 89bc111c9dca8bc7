// From the flags of `elbo train` to the run that is meant: its configuration and, when resumed, the
// directory and checkpoint to go on from.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apps/command_line.h"
#include "apps/config_merge.h"
#include "engine/io/checkpoint.h"

namespace elbo {

// The flags of all keys that have one.
std::vector<Flag> config_flags();

// A line for every key that has no flag.
std::string keys_without_flags_text();

struct ResumePoint {
  std::string run_dir;
  LoadedCheckpoint checkpoint;
};

struct PlannedRun {
  MergedConfig merged;
  std::optional<ResumePoint> resume;
  // Where to compute. A run goes on with the bits it would have had, unless told otherwise: on as
  // many threads and the same kind of device. Not in the configuration, whose text is part of
  // checkpoints and must not tell a resumed run from an uninterrupted one.
  std::string device;
  int threads = 0;
};

// Errors    ErrorCode::usage, also when a resumed run is asked to be another one
PlannedRun plan_run(Fs& fs, const Arguments& arguments, std::vector<std::string> environment);

// output.dir, else runs/<output.name>, else runs/<date>-<time>-<preset>.
std::string run_directory(const RunConfig& config);

}  // namespace elbo
