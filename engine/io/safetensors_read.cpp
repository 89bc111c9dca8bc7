// Reading guide: parse_safetensors cuts the file into header and data, read_safetensors_header
// (safetensors_header.cpp) turns the header into entries, place_tensors checks that they tile the
// data exactly.
//
// Invariant: no allocation depends on a number from the file before that number was compared with
// the file's size or a limit.
#include <algorithm>
#include <cstring>

#include "engine/io/safetensors.h"
#include "engine/io/safetensors_header.h"

namespace elbo {
namespace {

// The header's length, or a refusal.
uint64_t header_length(std::span<const std::byte> file, const std::string& file_name,
                       const SafetensorsLimits& limits) {
  if (file.size() < kSafetensorsLengthBytes) {
    refuse_safetensors(file_name, file.size(), " bytes, expected at least ",
                       kSafetensorsLengthBytes);
  }
  uint64_t length = 0;
  std::memcpy(&length, file.data(), kSafetensorsLengthBytes);
  if (length > limits.header_bytes) {
    refuse_safetensors(file_name, "declares a header of ", length, " bytes, expected at most ",
                       limits.header_bytes);
  }
  if (length > file.size() - kSafetensorsLengthBytes) {
    refuse_safetensors(file_name, "declares a header of ", length, " bytes, but only ",
                       file.size() - kSafetensorsLengthBytes, " follow");
  }
  return length;
}

uint64_t declared_bytes(const NamedBlob& blob, const std::string& file_name) {
  uint64_t bytes = bytes_per_element(blob.type);
  for (const int64_t extent : blob.shape) {
    if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(extent), &bytes)) {
      refuse_safetensors(file_name, "tensor ", in_quotes(blob.name), " has shape ",
                         shape_text(blob.shape), ", whose size exceeds 64 bits");
    }
  }
  return bytes;
}

// Checks that the tensors, in the order of their offsets, tile `data` without hole or overlap.
void place_tensors(std::vector<SafetensorsEntry>& entries, std::span<const std::byte> data,
                   const std::string& file_name) {
  std::sort(entries.begin(), entries.end(),
            [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
              return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
            });
  uint64_t covered = 0;
  for (SafetensorsEntry& entry : entries) {
    const auto describe = [&] { return concat("tensor ", in_quotes(entry.blob.name)); };
    if (entry.begin != covered) {
      refuse_safetensors(file_name, describe(), " begins at offset ", entry.begin, ", expected ",
                         covered);
    }
    const uint64_t expected = declared_bytes(entry.blob, file_name);
    if (entry.end < entry.begin || entry.end - entry.begin != expected) {
      refuse_safetensors(file_name, describe(), " has offsets ", entry.begin, " to ", entry.end,
                         ", expected ", expected, " bytes for ", stored_type_name(entry.blob.type),
                         " ", shape_text(entry.blob.shape));
    }
    if (entry.end > data.size()) {
      refuse_safetensors(file_name, describe(), " ends at offset ", entry.end, ", but only ",
                         data.size(), " bytes of data follow the header");
    }
    entry.blob.bytes = data.subspan(entry.begin, expected);
    covered = entry.end;
  }
  if (covered != data.size()) {
    refuse_safetensors(file_name, data.size() - covered,
                       " bytes after the last tensor, expected none");
  }
}

}  // namespace

const NamedBlob* SafetensorsView::find(std::string_view name) const {
  const auto at =
      std::lower_bound(tensors.begin(), tensors.end(), name,
                       [](const NamedBlob& a, std::string_view b) { return a.name < b; });
  return at != tensors.end() && at->name == name ? &*at : nullptr;
}

SafetensorsView parse_safetensors(std::span<const std::byte> file, const std::string& file_name,
                                  const SafetensorsLimits& limits) {
  const uint64_t length = header_length(file, file_name, limits);
  const std::string_view json(reinterpret_cast<const char*>(file.data()) + kSafetensorsLengthBytes,
                              length);
  if (json.empty() || json.front() != '{') {
    refuse_safetensors(file_name, "the header does not start with {");
  }
  // The JSON parser takes a zero byte for the end of its input and would ignore what follows.
  if (const size_t zero = json.find('\0'); zero != std::string_view::npos) {
    refuse_safetensors(file_name, "the header has a zero byte at ", kSafetensorsLengthBytes + zero);
  }
  SafetensorsHeader header = read_safetensors_header(json, file_name, limits);
  place_tensors(header.entries, file.subspan(kSafetensorsLengthBytes + length), file_name);

  SafetensorsView view{std::move(header.metadata), {}};
  view.tensors.reserve(header.entries.size());
  for (SafetensorsEntry& entry : header.entries) view.tensors.push_back(std::move(entry.blob));
  std::sort(view.tensors.begin(), view.tensors.end(),
            [](const NamedBlob& a, const NamedBlob& b) { return a.name < b.name; });
  const auto twin =
      std::adjacent_find(view.tensors.begin(), view.tensors.end(),
                         [](const NamedBlob& a, const NamedBlob& b) { return a.name == b.name; });
  if (twin != view.tensors.end()) {
    refuse_safetensors(file_name, "two tensors are named ", in_quotes(twin->name));
  }
  return view;
}

SafetensorsFile load_safetensors(Fs& fs, const std::string& path, const SafetensorsLimits& limits) {
  SafetensorsFile file;
  file.bytes = read_file(fs, path, limits.file_bytes);
  file.view = parse_safetensors(file.bytes, path, limits);
  return file;
}

}  // namespace elbo
