// Exhaustive damage to small safetensors files. Whatever comes in, the parser either gives tensors
// that lie inside the file and have the size their shape says, or a one-line ErrorCode::data.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cctype>
#include <iterator>
#include <sstream>

#include "engine/io/safetensors.h"
#include "tests/support/malformed.h"

namespace elbo {
namespace {

const std::vector<std::string> kHeaders = {
    R"({"__metadata__":{"format":"pt"},"fc1.weight":{"dtype":"F32","shape":[2,3],)"
    R"("data_offsets":[0,24]},"fc1.bias":{"dtype":"F32","shape":[2],"data_offsets":[24,32]}}    )",
    R"({"n":{"dtype":"I64","shape":[],"data_offsets":[0,8]},"e":{"dtype":"BF16","shape":[0,9],)"
    R"("data_offsets":[8,8]},"x":{"shape":[1,1,1,1,1,1,1,8],"data_offsets":[8,16],"dtype":"U8"},)"
    R"("\u0041\n":{"data_offsets":[16,32],"dtype":"F64","shape":[2]}})",
    R"({"encoder.0.weight":{"dtype":"F16","shape":[4],"data_offsets":[16,24]},"__metadata__":{},)"
    R"("decoder.0.weight":{"dtype":"I32","shape":[2,1,2],"data_offsets":[0,16]},)"
    R"("z":{"dtype":"U8","shape":[8,1],"data_offsets":[24,32]}})"};
const std::string kData(32, 'd');

std::string with_length(const std::string& json) {
  return little_endian(json.size()) + json + kData;
}

struct Tally {
  int64_t files = 0;
  int64_t accepted = 0;
};

void examine(const std::string& file, Tally& tally) {
  ++tally.files;
  const auto bytes = std::as_bytes(std::span(file));
  try {
    const SafetensorsView view = parse_safetensors(bytes, "m");
    ++tally.accepted;
    unsigned sum = 0;
    for (const NamedBlob& tensor : view.tensors) {
      uint64_t expected = bytes_per_element(tensor.type);
      for (const int64_t extent : tensor.shape) expected *= static_cast<uint64_t>(extent);
      EXPECT_EQ(tensor.bytes.size(), expected);
      // Reads every byte, which the address sanitizer watches.
      for (const std::byte b : tensor.bytes) sum += std::to_integer<unsigned>(b);
      EXPECT_EQ(view.find(tensor.name), &tensor);
    }
    EXPECT_LE(sum, 255u * kData.size());
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_EQ(error.code(), ErrorCode::data);
    EXPECT_TRUE(message.starts_with("m: ")) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    EXPECT_LT(message.size(), 400u) << message;
  }
}

struct Token {
  size_t at = 0;
  size_t length = 0;
  bool is_number = false;
};

// Strings, numbers and punctuation of a header above (no escaped quotes, no spaces within).
std::vector<Token> tokens_of(const std::string& json) {
  std::vector<Token> tokens;
  for (size_t at = 0; at < json.size() && json[at] != ' ';) {
    const bool is_number = std::isdigit(json[at]) != 0;
    size_t end = at + 1;
    if (json[at] == '"') end = json.find('"', end) + 1;
    if (is_number) end = json.find_first_not_of("0123456789", at);
    tokens.push_back({at, end - at, is_number});
    at = end;
  }
  return tokens;
}

void replace_each_number(const std::string& json, Tally& tally) {
  std::vector<std::string> values = {"18446744073709551616", "-1", "1e3", "1e999", "0.5", "007"};
  for (const uint64_t value : kBoundaries64) values.push_back(std::to_string(value));
  for (const Token& token : tokens_of(json)) {
    if (!token.is_number) continue;
    for (const std::string& value : values) {
      examine(with_length(std::string(json).replace(token.at, token.length, value)), tally);
    }
  }
}

// Every token of the header replaced by every kind of token: a walk through the whole grammar.
void replace_each_token(const std::string& json, Tally& tally) {
  std::istringstream list(
      R"({ } [ ] , : {} [] [[[[[[ "" "dtype" "data_offsets" "__metadata__" "F32" "w" "\ud800" "\"" // )"
      R"(null true 1 -1 1.5 [0,0] {"a":{"b":{"c":{}}}})");
  std::vector<std::string> replacements(std::istream_iterator<std::string>(list), {});
  for (const char* other : {"", " ", "\"\xff\""}) replacements.push_back(other);
  for (const Token& token : tokens_of(json)) {
    for (const std::string& other : replacements) {
      examine(with_length(std::string(json).replace(token.at, token.length, other)), tally);
    }
  }
}

int64_t peak_memory_kib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

TEST(SafetensorsMalformed, EveryDamageIsRefusedOrHarmless) {
  Tally tally;
  for (const std::string& json : kHeaders) examine(with_length(json), tally);
  ASSERT_EQ(tally.accepted, std::ssize(kHeaders));
  const int64_t memory_before = peak_memory_kib();
  for (const std::string& json : kHeaders) {
    const std::string file = with_length(json);
    const auto visit = [&](const std::string& damaged) { examine(damaged, tally); };
    for_each_truncation(file, visit);
    for_each_changed_byte(file, visit);
    // The same with a length that fits, so that the damage reaches the JSON.
    for_each_truncation(json, [&](const std::string& cut) { examine(with_length(cut), tally); });
    for (const uint64_t value : kBoundaries64) visit(little_endian(value) + file.substr(8));
    replace_each_number(json, tally);
    replace_each_token(json, tally);
  }
  std::printf("%ld files, %ld accepted\n", tally.files, tally.accepted);
  EXPECT_GE(tally.files, 10'000);
  EXPECT_GT(tally.accepted, 100);  // changed data bytes, names and key order
  EXPECT_LT(tally.accepted, tally.files / 4);
#ifndef __SANITIZE_ADDRESS__
  EXPECT_LT(peak_memory_kib() - memory_before, 16 * 1024);  // no header asked for gigabytes
#else
  (void)memory_before;
#endif
}

TEST(SafetensorsMalformed, DeepNestingIsRefusedWithoutRecursion) {
  Tally tally;
  for (const char* opening : {"[", "{\"a\":", "{\"__metadata__\":{\"a\":"}) {
    std::string json = "{\"w\":";
    for (int i = 0; i < 1'000'000; ++i) json += opening;
    examine(with_length(json), tally);
  }
  EXPECT_EQ(tally.accepted, 0);
}

}  // namespace
}  // namespace elbo
