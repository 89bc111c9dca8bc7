// Everything a resumed run needs beside weights and moments, as the text of state.json.
//
//   {
//   "crc32": "89abcdef",
//   ...
//
// The checksum on the second line covers every byte after that line, and the two lines before are
// compared literally, so any changed byte of the file is noticed. The text depends on the contents
// only (no time, no host), so equal runs write equal bytes. Doubles are printed so that reading
// gives the same bits; what JSON cannot express ("nan", "inf", "-inf") is a string.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace elbo {

// Where a run stands after `step` finished optimiser steps.
struct RunState {
  int64_t step = 0;
  int64_t epoch = 0;  // of the next batch, counted from 0
  int64_t batch = 0;  // batches of that epoch already used
  uint64_t seed = 0;
  int threads = 0;
  std::string device;                 // "cpu", "cuda"
  std::string precision;              // "fp32", "tf32", "bf16"
  std::optional<double> best_metric;  // lower is better
  int64_t best_step = -1;
  std::map<std::string, uint64_t> counters;  // of random streams, by purpose
  std::map<std::string, double> values;      // running sums and the like
  std::map<std::string, std::string> plan;   // algorithms chosen by timing

  bool operator==(const RunState&) const = default;
};

struct FileSum {
  uint64_t bytes = 0;
  uint32_t crc32 = 0;
  std::map<std::string, uint32_t> tensors;  // checksum of each tensor, empty for other files

  bool operator==(const FileSum&) const = default;
};

// What state.json holds: the state and the checksums of the files beside it.
struct StateFile {
  RunState state;
  std::map<std::string, FileSum> files;
};

std::string state_file_text(const StateFile& contents);

// Errors: ErrorCode::data naming `file_name`.
StateFile parse_state_file(std::string_view text, const std::string& file_name);

}  // namespace elbo
