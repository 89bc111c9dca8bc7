#include <algorithm>
#include <bit>
#include <nlohmann/json.hpp>

#include "engine/io/safetensors.h"

static_assert(std::endian::native == std::endian::little, "files are written as memory lies");

namespace elbo {
namespace {

constexpr size_t kAlignment = 8;  // of the tensor bytes within the file; the widest dtype

void check_size(const NamedBlob& tensor) {
  uint64_t expected = bytes_per_element(tensor.type);
  for (const int64_t extent : tensor.shape) expected *= static_cast<uint64_t>(extent);
  ELBO_CHECK(expected == tensor.bytes.size(), "safetensors: ", in_quotes(tensor.name), " ",
             stored_type_name(tensor.type), " ", shape_text(tensor.shape), " has ",
             tensor.bytes.size(), " bytes, expected ", expected);
}

}  // namespace

std::vector<const NamedBlob*> writing_order(std::span<const NamedBlob> tensors) {
  std::vector<const NamedBlob*> ordered;
  for (const NamedBlob& tensor : tensors) ordered.push_back(&tensor);
  std::sort(ordered.begin(), ordered.end(), [](const NamedBlob* a, const NamedBlob* b) {
    return a->type != b->type ? a->type > b->type : a->name < b->name;
  });
  return ordered;
}

std::string safetensors_header(std::span<const NamedBlob* const> ordered,
                               const Metadata& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  // ordered_json looks keys up linearly; appending to the underlying vector keeps this linear.
  auto& entries = header.get_ref<nlohmann::ordered_json::object_t&>();
  if (!metadata.empty()) entries.emplace_back("__metadata__", metadata);
  uint64_t offset = 0;
  for (const NamedBlob* tensor : ordered) {
    check_size(*tensor);
    ELBO_CHECK(tensor->name != "__metadata__", "safetensors: __metadata__ cannot name a tensor");
    const uint64_t end = offset + tensor->bytes.size();
    nlohmann::ordered_json entry;
    entry["dtype"] = stored_type_name(tensor->type);
    entry["shape"] = tensor->shape;
    entry["data_offsets"] = {offset, end};
    entries.emplace_back(tensor->name, std::move(entry));
    offset = end;
  }
  std::string json = header.dump();
  json.append((kAlignment - json.size() % kAlignment) % kAlignment, ' ');
  const uint64_t length = json.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + json;
}

WrittenFile write_safetensors(Fs& fs, const std::string& path, std::span<const NamedBlob> tensors,
                              const Metadata& metadata) {
  const std::vector<const NamedBlob*> ordered = writing_order(tensors);
  std::vector<std::string_view> names;
  for (const NamedBlob* tensor : ordered) names.push_back(tensor->name);
  std::sort(names.begin(), names.end());
  const auto twin = std::adjacent_find(names.begin(), names.end());
  ELBO_CHECK(twin == names.end(), "safetensors: two tensors are named ", in_quotes(*twin));

  const std::string header = safetensors_header(ordered, metadata);
  FileWriter file(fs, path);
  file.write(header);
  for (const NamedBlob* tensor : ordered) file.write(tensor->bytes);
  file.sync();
  file.close();
  return {file.bytes(), file.crc32()};
}

}  // namespace elbo
