// The progress of a run: a live line on a terminal, plain lines elsewhere.
//
//   epoch 3/10  62%|######    | 291/469 [00:04<00:02, 9.4k img/s] loss 105.3 kl 25.2 lr 1e-03
//   epoch 3/10  62% 291/469 [00:04<00:02, 9.4k img/s] loss 105.3 kl 25.2 lr 1e-03       (plain)
//
// In brackets: time since the epoch began < estimated time to its end, images per second.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "engine/io/log.h"

namespace elbo {

using ProgressFields = std::vector<std::pair<std::string, double>>;

struct ProgressLine {
  std::string label;  // stands in place of the epoch if it is not empty
  int64_t epoch = 1;  // from 1, as people count
  int64_t epochs = 1;
  int64_t step = 0;  // finished steps of this epoch
  int64_t steps = 0;
  int64_t first_step = 0;  // > 0 when the epoch was resumed in its middle
  double elapsed_s = 0;
  double images_per_s = 0;
  ProgressFields fields;
};

// Never longer than `width`: the bar shrinks and goes first, then fields from the last one.
std::string live_progress_text(const ProgressLine& line, int width);
std::string plain_progress_text(const ProgressLine& line);

std::string duration_text(double seconds);  // "00:04", "1:02:03", "??:??" if unknown
std::string rate_text(double per_second);   // "9.4k"

class Progress {
 public:
  using Clock = std::function<double()>;  // seconds, monotonic

  Progress(Log& log, int64_t epochs);
  // Of work that has no epochs: "reading images  62%|####  | 620/1000 [...]".
  Progress(Log& log, std::string label, int64_t steps);
  Progress(Log& log, int64_t epochs, Clock clock);  // for tests

  // `first_step` > 0 when an epoch is resumed in its middle.
  void begin_epoch(int64_t epoch, int64_t steps, int64_t first_step = 0);

  // After every step; draws at most ten times a second.
  void update(int64_t step, int64_t images_done, const ProgressFields& fields);

  // A line for the record: printed when piped, and always written to train.log.
  void report(int64_t step, int64_t images_done, const ProgressFields& fields);

  double images_per_s() const { return line_.images_per_s; }  // of the current epoch so far
  void finish();

 private:
  void measure(int64_t step, int64_t images_done, const ProgressFields& fields);

  Log& log_;
  Clock clock_;
  ProgressLine line_;
  double epoch_start_s_ = 0;
  double last_draw_s_ = 0;
};

}  // namespace elbo
