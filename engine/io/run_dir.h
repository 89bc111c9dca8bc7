// The directory of one run (--out DIR): its names, who may write to it, and what may be deleted.
//
//   config.toml  run.json  metrics.jsonl  train.log  profile.json
//   samples/  reconstructions/  checkpoints/
//
// Create      refuses a directory that holds anything
// Overwrite   removes exactly the names above, and only if run.json is there or nothing else is:
//             a mistyped --out must not cost anyone a directory of their own
// Resume      needs checkpoints/
// Lock        one process at a time; the lock goes with the process, however it ends
// Errors      ErrorCode::usage, with the flag to use; ErrorCode::failure if the place is no good
#pragma once

#include <string>

#include "engine/io/file_ops.h"

namespace elbo {

enum class RunDirMode { create, overwrite, resume };

class RunDir {
 public:
  RunDir(Fs& fs, std::string path, RunDirMode mode);
  ~RunDir();
  RunDir(RunDir&& other) noexcept;
  RunDir(const RunDir&) = delete;
  RunDir& operator=(const RunDir&) = delete;
  RunDir& operator=(RunDir&&) = delete;

  const std::string& path() const { return path_; }
  std::string config_toml() const { return join_path(path_, "config.toml"); }
  std::string run_json() const { return join_path(path_, "run.json"); }
  std::string metrics_jsonl() const { return join_path(path_, "metrics.jsonl"); }
  std::string train_log() const { return join_path(path_, "train.log"); }
  std::string profile_json() const { return join_path(path_, "profile.json"); }
  std::string samples() const { return join_path(path_, "samples"); }
  std::string reconstructions() const { return join_path(path_, "reconstructions"); }
  std::string checkpoints() const { return join_path(path_, "checkpoints"); }

 private:
  void open(RunDirMode mode);
  void lock();
  void check(RunDirMode mode) const;
  void check_may_create() const;
  void check_may_overwrite() const;
  void check_may_resume() const;
  void remove_contents();

  Fs* fs_;
  std::string path_;
  int lock_ = -1;
};

}  // namespace elbo
