// The JSON header of a safetensors file, read event by event. Internal to safetensors_read.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/io/safetensors.h"

namespace elbo {

inline constexpr size_t kSafetensorsLengthBytes = 8;  // the u64 in front of the header

struct SafetensorsEntry {
  NamedBlob blob;  // its bytes are not set yet
  uint64_t begin = 0;
  uint64_t end = 0;
};

struct SafetensorsHeader {
  Metadata metadata;
  std::vector<SafetensorsEntry> entries;  // as written; duplicate names are not yet refused
};

// Checks the grammar and the limits, not yet whether the entries fit the data.
SafetensorsHeader read_safetensors_header(std::string_view json, const std::string& file_name,
                                          const SafetensorsLimits& limits);

template <class... Pieces>
[[noreturn]] void refuse_safetensors(const std::string& file_name, const Pieces&... pieces) {
  throw_error(ErrorCode::data, file_name, ": ", pieces...,
              "; the file is damaged or not safetensors, copy it again");
}

}  // namespace elbo
