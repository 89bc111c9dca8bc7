#include "apps/run_record.h"

#include <unistd.h>

#include <array>
#include <ctime>
#include <nlohmann/json.hpp>

#include "apps/version.h"

namespace elbo {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint64_t kLargestRecord = uint64_t{16} << 20;  // thousands of resumptions
constexpr int kDeepestRecord = 16;                       // four times what ours need

std::string now_text() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text.data();
}

std::string host_name() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "";
}

// Null for what is not JSON, or nested as no record of ours is: writing it calls itself once per
// level, so that a damaged file could exhaust the stack.
Json parse_record(const std::string& text) {
  bool too_deep = false;
  const auto note_depth = [&](int depth, Json::parse_event_t, const Json&) {
    too_deep = too_deep || depth > kDeepestRecord;
    return !too_deep;
  };
  Json record = Json::parse(text, note_depth, false);
  return record.is_object() && !too_deep ? record : Json();
}

// What an earlier invocation wrote, the newest first. A record that cannot be read is dropped: it is
// a courtesy to people and nothing depends on it.
Json earlier_records(Fs& fs, const std::string& path) {
  Json last;
  try {
    last = parse_record(read_text_file(fs, path, kLargestRecord));
  } catch (const Error&) {  // absent, or too large, or no file at all
  }
  if (last.is_null()) return Json::array();
  Json earlier = Json::array();
  Json before = last.value("earlier", Json::array());
  last.erase("earlier");
  earlier.push_back(std::move(last));
  for (Json& record : before) {
    if (record.is_object()) earlier.push_back(std::move(record));
  }
  return earlier;
}

std::string text_of(const Json& json, int indent) {
  // Arguments may hold any bytes; what is not UTF-8 is replaced.
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

RunRecord::RunRecord(Fs& fs, std::string path, RunFacts facts, bool resumed)
    : fs_(fs), path_(std::move(path)), facts_(std::move(facts)), started_(now_text()) {
  earlier_ = text_of(resumed ? earlier_records(fs, path_) : Json::array(), -1);
  write("running", facts_.first_step, "", "");
}

void RunRecord::end(const std::string& status, int64_t step, const std::string& error) {
  write(status, step, now_text(), error);
}

void RunRecord::write(const std::string& status, int64_t step, const std::string& ended,
                      const std::string& error) {
  Json json;
  json["program"] = "elbo";
  json["version"] = version_number();
  json["git"] = git_commit();
  json["status"] = status;
  if (!error.empty()) json["error"] = error;
  json["started"] = started_;
  json["ended"] = ended.empty() ? Json(nullptr) : Json(ended);
  json["host"] = host_name();
  json["preset"] = facts_.preset;
  json["device"] = facts_.device;
  json["precision"] = facts_.precision;
  json["threads"] = facts_.threads;
  json["seed"] = facts_.seed;
  json["first_step"] = facts_.first_step;
  json["step"] = step;
  json["argv"] = facts_.argv;
  json["earlier"] = Json::parse(earlier_);
  replace_file(fs_, path_, text_of(json, 2) + "\n");
}

}  // namespace elbo
