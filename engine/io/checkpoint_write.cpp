// Reading guide: save() is the commit protocol, one line per stage; the header says what each
// stage guarantees. A name ending in .tmp is never loaded. A name ending in .old exists only while
// a step is saved a second time; it is the good copy until the new one has the name. So does a
// directory in the place of a link, where a run was copied by a program that follows links.
#include <algorithm>

#include "engine/io/checkpoint.h"
#include "engine/io/checkpoint_names.h"
#include "engine/io/crc32.h"

namespace elbo {
namespace {

std::string with_suffix(std::string_view name, std::string_view suffix) {
  return std::string(name) + std::string(suffix);
}

// Directories that stepped aside: of checkpoints, and those that stood in the place of a link.
std::vector<std::string> replaced_names(Fs& fs, const std::string& directory) {
  std::vector<std::string> names;
  for (const CheckpointEntry& entry : list_checkpoint_entries(fs, directory)) {
    if (entry.replaced) names.push_back(entry.name);
  }
  for (const std::string_view link : {kLatestLink, kBestLink}) {
    const std::string name = with_suffix(link, kReplaced);
    if (is_directory(fs, join_path(directory, name))) names.push_back(name);
  }
  return names;
}

FileSum sum_of(const WrittenFile& file, std::span<const NamedBlob> tensors = {}) {
  FileSum sum{file.bytes, file.crc32, {}};
  for (const NamedBlob& tensor : tensors) sum.tensors[tensor.name] = crc32(tensor.bytes);
  return sum;
}

}  // namespace

CheckpointWriter::CheckpointWriter(Fs& fs, std::string directory, int keep)
    : fs_(fs), directory_(std::move(directory)), keep_(static_cast<size_t>(std::max(keep, 0))) {
  if (keep < 2) {
    throw_error(ErrorCode::usage, "--keep ", keep,
                ": expected at least 2, so that damage to the newest leaves one to fall back to");
  }
  make_directories(fs_, directory_);
}

SavedCheckpoint CheckpointWriter::save(const CheckpointContents& contents, bool is_best) {
  const std::string name = checkpoint_name(contents.state.step);
  if (!exists(fs_, directory_)) {
    // Made anew, it would lack everything else of the run.
    throw_error(ErrorCode::failure, directory_, ": is gone, so step ", contents.state.step,
                " cannot be saved; somebody removed or renamed it");
  }
  clear_leftovers();
  try {
    write_files(path(with_suffix(name, kUnfinished)), contents);
    take_name(name);
  } catch (...) {
    // Give the space back: the usual reason to be here is a full disk. If even that fails, the
    // next save clears up.
    try {
      clear_leftovers();
    } catch (const Error&) {
    }
    throw;
  }
  sync_directory(fs_, directory_);
  publish(name, is_best);

  SavedCheckpoint saved{path(name), {}};
  try {
    remove_old(name);
  } catch (const Error& error) {
    saved.warnings.push_back(concat("an old checkpoint stays: ", error.what()));
  }
  return saved;
}

// Removes what an interrupted save left, and gives a replaced checkpoint its name back when its
// replacement did not take it.
void CheckpointWriter::clear_leftovers() {
  for (const std::string& name : list_directory(fs_, directory_)) {
    if (name.ends_with(kUnfinished)) remove_tree(fs_, path(name));
  }
  for (const std::string& name : replaced_names(fs_, directory_)) {
    const std::string original = name.substr(0, name.size() - kReplaced.size());
    if (exists(fs_, path(original))) {
      retire(name);
    } else {
      rename_path(fs_, path(name), path(original));
    }
  }
}

void CheckpointWriter::write_files(const std::string& directory,
                                   const CheckpointContents& contents) {
  make_directories(fs_, directory);
  const auto in = [&](std::string_view file) { return join_path(directory, file); };
  const Metadata metadata = {{"format", "pt"}, {"elbo.step", std::to_string(contents.state.step)}};
  StateFile state{contents.state, {}};
  const auto add = [&](std::string_view file, FileSum sum) {
    state.files.emplace(file, std::move(sum));
  };
  add(kModelFile,
      sum_of(write_safetensors(fs_, in(kModelFile), contents.model, metadata), contents.model));
  add(kOptimizerFile,
      sum_of(write_safetensors(fs_, in(kOptimizerFile), contents.optimizer, metadata),
             contents.optimizer));
  add(kConfigFile, sum_of(write_file(fs_, in(kConfigFile), contents.config_toml)));
  write_file(fs_, in(kStateFile), state_file_text(state));
  sync_directory(fs_, directory);
}

// A directory cannot be renamed over another that has files in it, so an older checkpoint of the
// same step steps aside first. The loader knows it under that name too.
void CheckpointWriter::take_name(const std::string& name) {
  if (exists(fs_, path(name))) rename_path(fs_, path(name), path(with_suffix(name, kReplaced)));
  rename_path(fs_, path(with_suffix(name, kUnfinished)), path(name));
}

void CheckpointWriter::point_link(std::string_view link, const std::string& name) {
  if (is_directory(fs_, path(link)))
    rename_path(fs_, path(link), path(with_suffix(link, kReplaced)));
  replace_symlink(fs_, path(link), name);
}

void CheckpointWriter::publish(const std::string& name, bool is_best) {
  point_link(kLatestLink, name);
  if (is_best) point_link(kBestLink, name);
  sync_directory(fs_, directory_);
}

void CheckpointWriter::remove_old(const std::string& newest) {
  const int64_t newest_step = checkpoint_step(newest);
  const int64_t best_step = checkpoint_step(read_link(fs_, path(kBestLink)));
  if (best_step > newest_step) remove_tree(fs_, path(kBestLink));
  for (const std::string_view link : {kLatestLink, kBestLink}) {
    const std::string replaced = with_suffix(link, kReplaced);
    if (is_directory(fs_, path(replaced))) retire(replaced);
  }
  size_t kept = 0;
  for (const CheckpointEntry& entry : list_checkpoint_entries(fs_, directory_)) {
    const bool wanted = entry.step <= newest_step && !entry.replaced;
    if (wanted && (kept++ < keep_ || entry.step == best_step)) continue;
    retire(entry.name);
  }
}

// Renames before removing, and makes that durable, so that no half-removed directory is ever seen
// under a checkpoint's name.
void CheckpointWriter::retire(const std::string& name) {
  const std::string doomed = path(with_suffix(name, kUnfinished));
  rename_path(fs_, path(name), doomed);
  sync_directory(fs_, directory_);
  remove_tree(fs_, doomed);
}

}  // namespace elbo
