// Schedules as configuration values.
#include <algorithm>
#include <limits>
#include <optional>

#include "apps/config_value.h"
#include "apps/nearest_name.h"
#include "kernels/error.h"

namespace elbo {
namespace {

constexpr int64_t kMaxSteps = int64_t{1} << 40;  // far beyond any run, far from overflow
constexpr double kMaxValue = 1e6;                // of a learning rate or KL weight

struct NamedSchedule {
  ScheduleKind kind;
  const char* name;
  std::vector<std::string> fields;  // besides kind
};

const std::vector<NamedSchedule>& named_schedules() {
  static const std::vector<NamedSchedule> schedules = {
      {ScheduleKind::constant, "constant", {"base"}},
      {ScheduleKind::warmup, "warmup", {"base", "start", "steps"}},
      {ScheduleKind::cyclical, "cyclical", {"base", "start", "steps", "ratio"}},
      {ScheduleKind::cosine, "cosine", {"base", "start", "steps"}},
      {ScheduleKind::stages, "stages", {"until", "value"}},
  };
  return schedules;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

class ScheduleReader {
 public:
  explicit ScheduleReader(const ConfigTable& table) : table_(table), named_(find_kind()) {
    for (const auto& [name, value] : table) {
      if (name == "kind") continue;
      const auto& fields = named_.fields;
      if (std::find(fields.begin(), fields.end(), name) != fields.end()) continue;
      throw BadValue{concat("no ", name, " in a schedule of kind \"", named_.name, "\", which has ",
                            joined(fields), did_you_mean(name, fields))};
    }
  }

  Schedule read(float default_base) const {
    Schedule schedule;
    schedule.kind = named_.kind;
    if (schedule.kind == ScheduleKind::stages) return read_stages(schedule);
    schedule.base = number("base", default_base, 0, kMaxValue);
    if (schedule.kind == ScheduleKind::constant) return schedule;
    schedule.start = number("start", 0.0f, 0, kMaxValue);
    schedule.steps = integer("steps");
    constexpr double kShortestRamp = 1e-3;  // of a cycle; 0 would divide by zero
    if (schedule.kind == ScheduleKind::cyclical)
      schedule.ratio = number("ratio", schedule.ratio, kShortestRamp, 1);
    return schedule;
  }

 private:
  const ConfigValue* find(std::string_view name) const {
    for (const auto& [key, value] : table_)
      if (key == name) return &value;
    return nullptr;
  }

  const NamedSchedule& find_kind() const {
    std::vector<std::string> names;
    for (const NamedSchedule& named : named_schedules()) names.emplace_back(named.name);
    const ConfigValue* value = find("kind");
    const auto* text = value != nullptr ? value->as<std::string>() : nullptr;
    for (const NamedSchedule& named : named_schedules())
      if (text != nullptr && *text == named.name) return named;
    throw BadValue{concat("a schedule with a kind, one of ", joined(names),
                          text != nullptr ? did_you_mean(*text, names) : "")};
  }

  float number(std::string_view name, float fallback, double low, double high) const {
    const ConfigValue* value = find(name);
    if (value == nullptr) return fallback;
    return number(name, *value, low, high);
  }

  static float number(std::string_view name, const ConfigValue& value, double low, double high) {
    const BadValue bad{concat(name, " to be a number from ", low, " to ", high)};
    const auto* integer = value.as<int64_t>();
    const auto* real = value.as<double>();
    if (integer == nullptr && real == nullptr) throw bad;
    const double number = integer != nullptr ? static_cast<double>(*integer) : *real;
    if (!(number >= low && number <= high)) throw bad;  // also NaN
    return static_cast<float>(number);
  }

  int64_t integer(std::string_view name) const {
    const ConfigValue* value = find(name);
    const auto* integer = value != nullptr ? value->as<int64_t>() : nullptr;
    if (integer == nullptr || *integer < 1 || *integer > kMaxSteps) {
      throw BadValue{
          concat(name, " to be an integer from 1 up in a schedule of kind \"", named_.name, "\"")};
    }
    return *integer;
  }

  Schedule read_stages(Schedule schedule) const {
    const ConfigValue* untils = find("until");
    const ConfigValue* values = find("value");
    const auto* until = untils != nullptr ? untils->as<ConfigList>() : nullptr;
    const auto* value = values != nullptr ? values->as<ConfigList>() : nullptr;
    const BadValue bad{
        concat("lists until = [n rising steps] and value = [n + 1 numbers], at most ",
               Schedule::kMaxStages, " values")};
    if (until == nullptr || value == nullptr || value->size() != until->size() + 1 ||
        value->size() > static_cast<size_t>(Schedule::kMaxStages)) {
      throw bad;
    }
    schedule.stage_count = static_cast<int>(value->size());
    for (size_t i = 0; i < value->size(); ++i)
      schedule.value[i] = number("value", (*value)[i], 0, kMaxValue);
    int64_t before = 0;
    for (size_t i = 0; i < until->size(); ++i) {
      const auto* step = (*until)[i].as<int64_t>();
      if (step == nullptr || *step <= before || *step > kMaxSteps) throw bad;
      schedule.until[i] = before = *step;
    }
    schedule.until[until->size()] = std::numeric_limits<int64_t>::max();
    return schedule;
  }

  const ConfigTable& table_;
  const NamedSchedule& named_;
};

}  // namespace

std::string toml_text(const Schedule& schedule) {
  if (schedule.kind == ScheduleKind::constant) return toml_text(schedule.base);
  std::string text;
  for (const NamedSchedule& named : named_schedules())
    if (named.kind == schedule.kind) text = concat("{kind = \"", named.name, "\"");
  if (schedule.kind == ScheduleKind::stages) {
    std::string until, value;
    for (int i = 0; i < schedule.stage_count; ++i) {
      const char* comma = i == 0 ? "" : ", ";
      value += comma + toml_text(schedule.value[i]);
      if (i + 1 < schedule.stage_count) until += comma + toml_text(schedule.until[i]);
    }
    return text + ", until = [" + until + "], value = [" + value + "]}";
  }
  text += ", base = " + toml_text(schedule.base) + ", start = " + toml_text(schedule.start) +
          ", steps = " + toml_text(schedule.steps);
  if (schedule.kind == ScheduleKind::cyclical) text += ", ratio = " + toml_text(schedule.ratio);
  return text + "}";
}

Schedule parse_schedule(const ConfigValue& value, float default_base) {
  if (const auto* table = value.as<ConfigTable>()) return ScheduleReader(*table).read(default_base);
  if (value.as<int64_t>() == nullptr && value.as<double>() == nullptr)
    throw BadValue{"a number, or a table like {kind = \"warmup\", base = 1.0, steps = 500}"};
  const double number = parse_number(value);
  if (!(number >= 0 && number <= kMaxValue))
    throw BadValue{concat("a number from 0 to ", kMaxValue)};
  Schedule schedule;
  schedule.base = static_cast<float>(number);
  return schedule;
}

}  // namespace elbo
