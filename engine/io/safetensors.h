// The safetensors format: a length, a JSON header, the raw tensors.
//
//   u64 little-endian N | N bytes of JSON, padded with spaces | tensor bytes
//   {"__metadata__": {"k": "v"}, "fc1.weight": {"dtype": "F32", "shape": [400, 784],
//                                               "data_offsets": [begin, end]}, ...}
//
// Writing   same bytes as the reference library: tensors by falling dtype alignment, then name;
//           header padded to a multiple of 8. Output depends on the arguments only.
// Reading   files are hostile until checked. Refused are: a header longer than the file or the
//           limit, anything that is not the JSON above, duplicate keys at any level, unknown
//           dtypes, products that overflow, holes, overlaps, bytes after the last tensor. Memory
//           beside the file: the header's strings and some 250 bytes per tensor; tensor bytes are
//           not copied, and no allocation follows a number that was not yet checked.
// Errors    ErrorCode::data: file, place, found, expected
// Source    github.com/huggingface/safetensors, README and tensor.rs
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/io/blob.h"
#include "engine/io/file_ops.h"

namespace elbo {

using Metadata = std::map<std::string, std::string>;

struct SafetensorsLimits {
  uint64_t file_bytes = uint64_t{1} << 40;
  uint64_t header_bytes = 100'000'000;  // the reference library's limit
  size_t tensors = 65'536;
  size_t rank = 8;
};

// Tensors in the order of their names; spans point into the parsed bytes.
struct SafetensorsView {
  Metadata metadata;
  std::vector<NamedBlob> tensors;

  const NamedBlob* find(std::string_view name) const;  // nullptr if absent
};

// `file_name` is for messages only.
SafetensorsView parse_safetensors(std::span<const std::byte> file, const std::string& file_name,
                                  const SafetensorsLimits& limits = {});

// A view together with the bytes it points into. Move-only: a copy would point into the original.
struct SafetensorsFile {
  std::vector<std::byte> bytes;
  SafetensorsView view;

  SafetensorsFile() = default;
  SafetensorsFile(SafetensorsFile&&) = default;
  SafetensorsFile& operator=(SafetensorsFile&&) = default;
};

SafetensorsFile load_safetensors(Fs& fs, const std::string& path,
                                 const SafetensorsLimits& limits = {});

// Length, JSON and padding for these tensors, which the caller then writes in `writing_order`.
std::vector<const NamedBlob*> writing_order(std::span<const NamedBlob> tensors);
std::string safetensors_header(std::span<const NamedBlob* const> ordered, const Metadata& metadata);

// Creates, writes and syncs `path`. The name is durable after sync_directory(parent).
WrittenFile write_safetensors(Fs& fs, const std::string& path, std::span<const NamedBlob> tensors,
                              const Metadata& metadata = {{"format", "pt"}});

}  // namespace elbo
