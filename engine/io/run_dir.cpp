#include "engine/io/run_dir.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "engine/io/blob.h"

namespace elbo {
namespace {

constexpr std::string_view kLockFile = ".lock";
constexpr std::string_view kRunFile = "run.json";

// In the order of removal: run.json, which marks the directory as ours, goes last, so that an
// interrupted removal can be repeated.
constexpr std::array<std::string_view, 8> kContents = {
    "checkpoints", "samples",     "reconstructions", "metrics.jsonl",
    "train.log",   "config.toml", "profile.json",    kRunFile};

bool is_known(std::string_view name) {
  if (name.ends_with(".tmp")) name.remove_suffix(4);  // of an interrupted replacement
  return name == kLockFile ||
         std::find(kContents.begin(), kContents.end(), name) != kContents.end();
}

}  // namespace

RunDir::RunDir(Fs& fs, std::string path, RunDirMode mode) : fs_(&fs), path_(std::move(path)) {
  try {
    open(mode);
  } catch (const Error& error) {
    if (lock_ >= 0) fs_->close(lock_);
    if (error.code() == ErrorCode::usage) throw;
    // Even if it was reading that failed: this place is not where the data comes from.
    throw_error(ErrorCode::failure, "run directory (--out): ", error.what());
  }
}

RunDir::RunDir(RunDir&& other) noexcept
    : fs_(other.fs_), path_(std::move(other.path_)), lock_(std::exchange(other.lock_, -1)) {}

RunDir::~RunDir() {
  if (lock_ >= 0) fs_->close(lock_);
}

void RunDir::open(RunDirMode mode) {
  check(mode);  // before the first write: a directory that is not ours stays as it is
  make_directories(*fs_, path_);
  lock();
  check(mode);  // another process may have come first
  if (mode == RunDirMode::overwrite) remove_contents();
  make_directories(*fs_, samples());
  make_directories(*fs_, reconstructions());
  make_directories(*fs_, checkpoints());
}

void RunDir::lock() {
  const std::string file = join_path(path_, kLockFile);
  lock_ = fs_->open(file, OpenMode::append);
  if (lock_ < 0) throw_io_error(ErrorCode::failure, "create", file, -lock_);
  const int result = fs_->lock(lock_);
  if (result == -EWOULDBLOCK) {
    throw_error(ErrorCode::usage, path_,
                ": another process is writing to this run; stop it or choose another --out");
  }
  // Some network file systems cannot lock; running unlocked beats not running.
}

void RunDir::check(RunDirMode mode) const {
  if (mode == RunDirMode::resume) return check_may_resume();
  if (!exists(*fs_, path_)) return;
  if (mode == RunDirMode::create) check_may_create();
  if (mode == RunDirMode::overwrite) check_may_overwrite();
}

void RunDir::check_may_create() const {
  bool is_run = false;
  std::string foreign;
  for (const std::string& name : list_directory(*fs_, path_)) {
    if (name == kLockFile) continue;
    if (is_known(name))
      is_run = true;
    else
      foreign = name;
  }
  if (is_run) {
    throw_error(ErrorCode::usage, path_,
                ": holds a run already; continue it with --resume, replace it with --overwrite, or "
                "choose another --out");
  }
  if (!foreign.empty()) {
    throw_error(ErrorCode::usage, path_, ": is not empty (it holds ", in_quotes(foreign),
                "); choose another --out");
  }
}

void RunDir::check_may_overwrite() const {
  if (exists(*fs_, run_json())) return;
  for (const std::string& name : list_directory(*fs_, path_)) {
    if (!is_known(name)) {
      throw_error(ErrorCode::usage, path_, ": is not the directory of a run (no run.json, but ",
                  in_quotes(name), "), so --overwrite leaves it alone; choose another --out");
    }
  }
}

void RunDir::check_may_resume() const {
  if (leads_to_directory(*fs_, checkpoints())) return;
  throw_error(ErrorCode::usage, path_,
              ": nothing to resume (no checkpoints/); check --out, or start without --resume");
}

void RunDir::remove_contents() {
  for (const std::string_view name : kContents) {
    remove_tree(*fs_, join_path(path_, name));
    remove_tree(*fs_, join_path(path_, std::string(name) + ".tmp"));
  }
}

}  // namespace elbo
