#include "engine/io/metrics.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

namespace elbo {
namespace {

constexpr uint64_t kMaxMetricsBytes = uint64_t{1} << 32;  // some 40 million lines

struct ValueText {
  std::string operator()(int64_t value) const { return fmt::format("{}", value); }
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  // fmt's "{}" is the shortest text that reads back as the same bits.
  std::string operator()(float value) const { return number(value); }
  std::string operator()(double value) const { return number(value); }
  std::string operator()(const std::string& value) const {
    // Replace what is not UTF-8: a log line must not stop a run.
    return nlohmann::json(value).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }

  template <class Float>
  static std::string number(Float value) {
    return std::isfinite(value) ? fmt::format("{}", value) : "null";
  }
};

std::optional<int64_t> step_of(std::string_view line) {
  const auto json = nlohmann::json::parse(line, nullptr, false);
  if (!json.is_object()) return std::nullopt;
  const auto step = json.find("step");
  if (step == json.end() || !step->is_number_integer()) return std::nullopt;
  return step->get<int64_t>();
}

}  // namespace

std::string metrics_line(int64_t step, const MetricFields& fields) {
  std::string line = fmt::format("{{\"step\":{}", step);
  for (const auto& [name, value] : fields) {
    line += fmt::format(",{}:{}", ValueText{}(name), std::visit(ValueText{}, value));
  }
  return line + "}\n";
}

KeptMetrics metrics_until(std::string_view text, int64_t step) {
  KeptMetrics kept;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    const auto line_step = step_of(line);
    // A last line without its end may be cut inside a number and still parse.
    if (end == std::string_view::npos || !line_step) {
      ++kept.damaged;
    } else if (*line_step <= step) {
      kept.text.append(line).push_back('\n');
    }
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return kept;
}

MetricsWriter::MetricsWriter(Fs& fs, const std::string& path, std::optional<int64_t> resume_step)
    : damaged_lines_(resume_step ? cut_back(fs, path, *resume_step) : 0),
      file_(fs, path, resume_step ? OpenMode::append : OpenMode::create) {}

int64_t MetricsWriter::cut_back(Fs& fs, const std::string& path, int64_t step) {
  if (!exists(fs, path)) return 0;
  const std::string text = read_text_file(fs, path, kMaxMetricsBytes);
  const KeptMetrics kept = metrics_until(text, step);
  if (kept.text != text) replace_file(fs, path, kept.text);
  return kept.damaged;
}

void MetricsWriter::append(int64_t step, const MetricFields& fields) {
  file_.write(metrics_line(step, fields));
}

void MetricsWriter::sync() { file_.sync(); }

}  // namespace elbo
