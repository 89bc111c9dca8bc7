// What --profile A:B does at the two ends of its steps. CUDA: brackets them for a profiler that
// records between cudaProfilerStart and -Stop only. CPU: times every op, prints a table and leaves
// it in profile.json:
//
//   {"first_step": 100, "steps": 20, "ms_per_step": 1.53,
//    "ops": [{"op": "opt/optimizer", "calls": 20, "ms_per_step": 0.31, "share": 0.2}, ...]}
#pragma once

#include <string>

#include "engine/io/file_ops.h"
#include "engine/io/log.h"
#include "engine/op_times.h"
#include "models/trainer.h"

namespace elbo {

class TrainProfile {
 public:
  TrainProfile(Fs& fs, Log& log, Context& context, Trainer& trainer, std::string file)
      : fs_(fs), log_(log), context_(context), trainer_(trainer), file_(std::move(file)) {}

  void begin();
  void end();
  bool done() const { return done_; }

 private:
  void print_table() const;
  void write_file() const;

  Fs& fs_;
  Log& log_;
  Context& context_;
  Trainer& trainer_;
  std::string file_;
  OpTimes times_;
  int64_t first_step_ = 0;
  bool done_ = false;
};

}  // namespace elbo
