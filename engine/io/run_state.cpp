#include "engine/io/run_state.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "engine/io/blob.h"
#include "engine/io/crc32.h"
#include "kernels/error.h"

namespace elbo {
namespace {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;  // for writing: keys stay in the order of the header

constexpr int kVersion = 1;  // of the layout of state.json and of the checkpoint directory
constexpr std::string_view kBeforeSum = "{\n\"crc32\": \"";
constexpr std::string_view kAfterSum = "\",\n";
constexpr size_t kSumDigits = 8;

uint32_t text_crc32(std::string_view text) { return crc32(std::as_bytes(std::span(text))); }

OrderedJson number(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return value;
}

double read_number(const Json& json) {
  if (!json.is_string()) return json.get<double>();
  const std::string& text = json.get_ref<const std::string&>();
  if (text == "nan") return std::numeric_limits<double>::quiet_NaN();
  if (text == "inf") return std::numeric_limits<double>::infinity();
  if (text == "-inf") return -std::numeric_limits<double>::infinity();
  throw Error(ErrorCode::data, "expected a number, found " + in_quotes(text));
}

uint32_t read_sum(const Json& json) {
  const std::string& text = json.get_ref<const std::string&>();
  if (text.size() != kSumDigits ||
      text.find_first_not_of("0123456789abcdef") != std::string::npos) {
    throw Error(ErrorCode::data, "expected a checksum, found " + in_quotes(text));
  }
  return static_cast<uint32_t>(std::stoul(text, nullptr, 16));
}

OrderedJson files_json(const std::map<std::string, FileSum>& files) {
  OrderedJson all = OrderedJson::object();
  for (const auto& [name, sum] : files) {
    OrderedJson tensors = OrderedJson::object();
    auto& entries = tensors.get_ref<OrderedJson::object_t&>();  // see safetensors_header
    for (const auto& [tensor, crc] : sum.tensors) entries.emplace_back(tensor, crc32_text(crc));
    all[name] = {{"bytes", sum.bytes}, {"crc32", crc32_text(sum.crc32)}, {"tensors", tensors}};
  }
  return all;
}

OrderedJson state_json(const RunState& state) {
  OrderedJson values = OrderedJson::object();
  for (const auto& [name, value] : state.values) values[name] = number(value);
  OrderedJson json;
  json["version"] = kVersion;
  json["step"] = state.step;
  json["epoch"] = state.epoch;
  json["batch"] = state.batch;
  json["seed"] = state.seed;
  json["threads"] = state.threads;
  json["device"] = state.device;
  json["precision"] = state.precision;
  json["best_metric"] = state.best_metric ? number(*state.best_metric) : OrderedJson(nullptr);
  json["best_step"] = state.best_step;
  json["counters"] = state.counters;
  json["values"] = values;
  json["plan"] = state.plan;
  return json;
}

RunState read_state(const Json& json) {
  RunState state;
  json.at("step").get_to(state.step);
  json.at("epoch").get_to(state.epoch);
  json.at("batch").get_to(state.batch);
  json.at("seed").get_to(state.seed);
  json.at("threads").get_to(state.threads);
  json.at("device").get_to(state.device);
  json.at("precision").get_to(state.precision);
  if (!json.at("best_metric").is_null()) state.best_metric = read_number(json.at("best_metric"));
  json.at("best_step").get_to(state.best_step);
  json.at("counters").get_to(state.counters);
  for (const auto& [name, value] : json.at("values").items()) {
    state.values[name] = read_number(value);
  }
  json.at("plan").get_to(state.plan);
  return state;
}

std::map<std::string, FileSum> read_files(const Json& json) {
  std::map<std::string, FileSum> files;
  for (const auto& [name, entry] : json.items()) {
    FileSum& sum = files[name];
    entry.at("bytes").get_to(sum.bytes);
    sum.crc32 = read_sum(entry.at("crc32"));
    for (const auto& [tensor, crc] : entry.at("tensors").items()) {
      sum.tensors[tensor] = read_sum(crc);
    }
  }
  return files;
}

// The JSON behind the checksum, after checking the checksum.
std::string_view checked_body(std::string_view text, const std::string& file_name) {
  const size_t body_begin = kBeforeSum.size() + kSumDigits + kAfterSum.size();
  if (text.size() < body_begin || !text.starts_with(kBeforeSum) ||
      text.substr(body_begin - kAfterSum.size(), kAfterSum.size()) != kAfterSum) {
    throw_error(ErrorCode::data, file_name, ": does not begin with a checksum");
  }
  const std::string_view body = text.substr(body_begin);
  const std::string_view stored = text.substr(kBeforeSum.size(), kSumDigits);
  const std::string found = crc32_text(text_crc32(body));
  if (found != stored) {
    throw_error(ErrorCode::data, file_name, ": checksum ", found, ", expected ", in_quotes(stored));
  }
  return body;
}

}  // namespace

std::string state_file_text(const StateFile& contents) {
  OrderedJson json = state_json(contents.state);
  json["files"] = files_json(contents.files);
  const std::string body = json.dump(1).substr(2) + "\n";  // without the opening "{\n"
  return concat(kBeforeSum, crc32_text(text_crc32(body)), kAfterSum, body);
}

StateFile parse_state_file(std::string_view text, const std::string& file_name) {
  const std::string_view body = checked_body(text, file_name);
  try {
    const Json json = Json::parse("{" + std::string(body));
    const int version = json.at("version").get<int>();
    if (version != kVersion) {
      throw_error(ErrorCode::data, "checkpoint format ", version, ", expected ", kVersion,
                  "; use the program version that wrote it");
    }
    return {read_state(json), read_files(json.at("files"))};
  } catch (const nlohmann::json::exception& error) {
    throw_error(ErrorCode::data, file_name, ": ", error.what());
  } catch (const Error& error) {
    throw_error(ErrorCode::data, file_name, ": ", error.what());
  }
}

}  // namespace elbo
