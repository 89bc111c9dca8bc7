// metrics.jsonl: one JSON object per line, written as it happens.
//
//   {"step":469,"epoch":1,"loss":105.31,"kl":25.2,"note":null}
//
// Numbers    floats and doubles are printed so that reading gives the same bits; NaN and infinity,
//            which JSON lacks, are null
// Resume     lines after the resumed step are dropped, and so are lines that a power cut damaged,
//            so that a stopped and resumed run leaves the same steps as an uninterrupted one
// Durability each line is one write; sync() before a checkpoint makes the lines as safe as it
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "engine/io/file_ops.h"

namespace elbo {

// float is its own case because 0.1f as a double would print as 0.10000000149011612.
using MetricValue = std::variant<int64_t, float, double, bool, std::string>;
using MetricFields = std::vector<std::pair<std::string, MetricValue>>;

std::string metrics_line(int64_t step, const MetricFields& fields);  // with its line end

// The lines to keep when resuming after `step`; `damaged` counts lines that were not JSON objects
// with a step.
struct KeptMetrics {
  std::string text;
  int64_t damaged = 0;
};
KeptMetrics metrics_until(std::string_view text, int64_t step);

class MetricsWriter {
 public:
  // `resume_step`: keep lines up to this step of an existing file; none starts an empty file.
  MetricsWriter(Fs& fs, const std::string& path, std::optional<int64_t> resume_step = {});

  void append(int64_t step, const MetricFields& fields);
  void sync();

  int64_t damaged_lines() const { return damaged_lines_; }  // dropped when resuming

 private:
  static int64_t cut_back(Fs& fs, const std::string& path, int64_t step);

  int64_t damaged_lines_;
  FileWriter file_;
};

}  // namespace elbo
