#include <algorithm>

#include "engine/io/checkpoint.h"
#include "engine/io/checkpoint_names.h"
#include "engine/io/crc32.h"

namespace elbo {
namespace {

constexpr uint64_t kMaxStateBytes = uint64_t{64} << 20;   // 65,536 tensors with long names
constexpr uint64_t kMaxConfigBytes = uint64_t{16} << 20;  // far above any configuration

const FileSum& expected_sum(const StateFile& state, std::string_view file,
                            const std::string& path) {
  const auto found = state.files.find(std::string(file));
  if (found == state.files.end()) {
    throw_error(ErrorCode::data, path, ": state.json has no checksum for it");
  }
  return found->second;
}

void check_sum(std::span<const std::byte> bytes, const FileSum& expected, const std::string& path) {
  if (bytes.size() != expected.bytes) {
    throw_error(ErrorCode::data, path, ": ", bytes.size(), " bytes, expected ", expected.bytes);
  }
  const uint32_t found = crc32(bytes);
  if (found != expected.crc32) {
    throw_error(ErrorCode::data, path, ": checksum ", crc32_text(found), ", expected ",
                crc32_text(expected.crc32));
  }
}

// The name of a tensor whose bytes are damaged, for the message; empty if the header is.
std::string damaged_tensor(const SafetensorsFile& file, const FileSum& expected,
                           const std::string& path) {
  try {
    for (const NamedBlob& tensor : parse_safetensors(file.bytes, path).tensors) {
      const auto sum = expected.tensors.find(tensor.name);
      if (sum == expected.tensors.end() || sum->second != crc32(tensor.bytes)) return tensor.name;
    }
  } catch (const Error&) {
  }
  return "";
}

SafetensorsFile load_tensors(Fs& fs, const std::string& directory, std::string_view name,
                             const StateFile& state) {
  const std::string path = join_path(directory, name);
  const FileSum& expected = expected_sum(state, name, path);
  SafetensorsFile file;
  file.bytes = read_file(fs, path, SafetensorsLimits{}.file_bytes);
  try {
    check_sum(file.bytes, expected, path);
  } catch (const Error& error) {
    const std::string tensor = damaged_tensor(file, expected, path);
    if (tensor.empty()) throw;
    throw_error(ErrorCode::data, error.what(), "; tensor ", in_quotes(tensor), " is damaged");
  }
  file.view = parse_safetensors(file.bytes, path);
  return file;
}

// What to try, best first: what `latest` names, then the rest from the newest down.
std::vector<CheckpointEntry> candidates(Fs& fs, const std::string& directory,
                                        std::vector<std::string>& warnings) {
  std::vector<CheckpointEntry> entries = list_checkpoint_entries(fs, directory);
  const std::string latest = read_link(fs, join_path(directory, kLatestLink));
  const int64_t step = checkpoint_step(latest);
  const auto is_latest = [&](const CheckpointEntry& entry) { return entry.step == step; };
  const auto first = std::find_if(entries.begin(), entries.end(), is_latest);
  const auto behind = std::find_if_not(first, entries.end(), is_latest);
  if (!latest.empty() && first == entries.end()) {
    warnings.push_back(
        concat(directory, "/latest names ", in_quotes(latest), ", which is missing"));
  }
  std::rotate(entries.begin(), first, behind);
  return entries;
}

}  // namespace

LoadedCheckpoint load_checkpoint(Fs& fs, const std::string& path) {
  const std::string state_path = join_path(path, kStateFile);
  StateFile state = parse_state_file(read_text_file(fs, state_path, kMaxStateBytes), state_path);
  LoadedCheckpoint loaded;
  loaded.path = path;
  const std::string config_path = join_path(path, kConfigFile);
  loaded.config_toml = read_text_file(fs, config_path, kMaxConfigBytes);
  check_sum(std::as_bytes(std::span(loaded.config_toml)),
            expected_sum(state, kConfigFile, config_path), config_path);
  loaded.model = load_tensors(fs, path, kModelFile, state);
  loaded.optimizer = load_tensors(fs, path, kOptimizerFile, state);
  loaded.state = std::move(state.state);
  return loaded;
}

LoadedCheckpoint load_latest_checkpoint(Fs& fs, const std::string& directory) {
  std::vector<std::string> warnings;
  for (const CheckpointEntry& entry : candidates(fs, directory, warnings)) {
    try {
      LoadedCheckpoint loaded = load_checkpoint(fs, join_path(directory, entry.name));
      for (std::string& warning : warnings) warning += "; using " + loaded.path;
      loaded.warnings = std::move(warnings);
      return loaded;
    } catch (const Error& error) {
      warnings.push_back(concat("passed over a damaged checkpoint: ", error.what()));
    }
  }
  if (warnings.empty()) {
    throw_error(ErrorCode::data, directory,
                ": no checkpoint found; the run ended before its first one, train it again with "
                "--overwrite");
  }
  throw_error(ErrorCode::data, directory, ": no checkpoint can be loaded; ", warnings.front());
}

}  // namespace elbo
