#include "engine/io/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

namespace elbo {
namespace {

constexpr int kFullBar = 20;
constexpr int kMinBar = 5;               // a shorter bar says nothing
constexpr double kRedrawPeriod_s = 0.1;  // faster than the eye reads, slower than it costs

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string head_text(const ProgressLine& line) {
  const double share = line.steps > 0 ? 100.0 * static_cast<double>(line.step) / line.steps : 100.0;
  const std::string what =
      line.label.empty() ? fmt::format("epoch {}/{}", line.epoch, line.epochs) : line.label;
  return fmt::format("{} {:3d}%", what, static_cast<int>(share));
}

std::string bar_text(const ProgressLine& line, int width) {
  const double share = line.steps > 0 ? static_cast<double>(line.step) / line.steps : 1.0;
  const int filled = std::clamp(static_cast<int>(share * width), 0, width);
  return fmt::format("|{:<{}}|", std::string(static_cast<size_t>(filled), '#'), width);
}

std::string timing_text(const ProgressLine& line, double remaining_s) {
  return fmt::format(" {}/{} [{}<{}, {} img/s]", line.step, line.steps,
                     duration_text(line.elapsed_s), duration_text(remaining_s),
                     rate_text(line.images_per_s));
}

double remaining_s(const ProgressLine& line) {
  const int64_t done = line.step - line.first_step;
  if (done <= 0) return std::nan("");
  return line.elapsed_s * static_cast<double>(line.steps - line.step) / done;
}

std::string field_text(const std::pair<std::string, double>& field) {
  // Four digits are enough to watch; exact numbers are in metrics.jsonl.
  return fmt::format(" {} {:.4g}", field.first, field.second);
}

}  // namespace

std::string duration_text(double seconds) {
  constexpr double kLongest_s = 3.6e8;  // ten thousand hours: longer means not yet known
  if (!(seconds >= 0 && seconds < kLongest_s)) return "??:??";
  const auto total = static_cast<int64_t>(seconds);
  const int64_t hours = total / 3600, minutes = total / 60 % 60;
  if (hours > 0) return fmt::format("{}:{:02d}:{:02d}", hours, minutes, total % 60);
  return fmt::format("{:02d}:{:02d}", minutes, total % 60);
}

std::string rate_text(double per_second) {
  if (!(per_second >= 0) || std::isinf(per_second)) return "?";
  if (per_second >= 1e6) return fmt::format("{:.1f}M", per_second / 1e6);
  if (per_second >= 1e4) return fmt::format("{:.0f}k", per_second / 1e3);
  if (per_second >= 1e3) return fmt::format("{:.1f}k", per_second / 1e3);
  return fmt::format("{:.0f}", per_second);
}

std::string plain_progress_text(const ProgressLine& line) {
  std::string text = head_text(line) + timing_text(line, remaining_s(line));
  for (const auto& field : line.fields) text += field_text(field);
  return text;
}

std::string live_progress_text(const ProgressLine& line, int width) {
  // The last column stays empty: writing to it makes some terminals wrap.
  const auto room = static_cast<size_t>(std::max(width - 1, 0));
  const std::string head = head_text(line);
  const std::string timing = timing_text(line, remaining_s(line));
  std::string fields;
  for (const auto& field : line.fields) {
    const std::string next = field_text(field);
    if (head.size() + timing.size() + fields.size() + next.size() > room) break;
    fields += next;
  }
  const size_t used = head.size() + timing.size() + fields.size() + 2;  // 2: the bar's ends
  const int bar = used < room ? std::min(kFullBar, static_cast<int>(room - used)) : 0;
  std::string text = head + (bar >= kMinBar ? bar_text(line, bar) : "") + timing + fields;
  return text.substr(0, room);
}

Progress::Progress(Log& log, int64_t epochs) : Progress(log, epochs, steady_seconds) {}

Progress::Progress(Log& log, std::string label, int64_t steps) : Progress(log, 1) {
  line_.label = std::move(label);
  begin_epoch(1, steps);
}

Progress::Progress(Log& log, int64_t epochs, Clock clock) : log_(log), clock_(std::move(clock)) {
  line_.epochs = epochs;
  begin_epoch(1, 0);
}

void Progress::begin_epoch(int64_t epoch, int64_t steps, int64_t first_step) {
  line_.epoch = epoch;
  line_.steps = steps;
  line_.first_step = first_step;
  epoch_start_s_ = clock_();
  last_draw_s_ = epoch_start_s_ - kRedrawPeriod_s;
}

void Progress::update(int64_t step, int64_t images_done, const ProgressFields& fields) {
  const double now = clock_();
  if (!log_.shows_live() || now - last_draw_s_ < kRedrawPeriod_s) return;
  last_draw_s_ = now;
  measure(step, images_done, fields);
  log_.live(live_progress_text(line_, log_.width()));
}

void Progress::report(int64_t step, int64_t images_done, const ProgressFields& fields) {
  measure(step, images_done, fields);
  const std::string text = plain_progress_text(line_);
  if (log_.shows_live()) {
    log_.file_only(text);
    log_.live(live_progress_text(line_, log_.width()));
  } else {
    log_.note(text);
  }
}

void Progress::finish() { log_.end_live(); }

void Progress::measure(int64_t step, int64_t images_done, const ProgressFields& fields) {
  line_.step = step;
  line_.elapsed_s = clock_() - epoch_start_s_;
  line_.images_per_s = line_.elapsed_s > 0 ? images_done / line_.elapsed_s : std::nan("");
  line_.fields = fields;
}

}  // namespace elbo
