#include "models/weights.h"

#include <algorithm>
#include <cstring>

namespace elbo {

std::vector<int64_t> dims_of(const Shape& shape) {
  std::vector<int64_t> dims;
  for (int axis = 0; axis < shape.rank(); ++axis) dims.push_back(shape[axis]);
  return dims;
}

NamedBlob require_tensor(const SafetensorsFile& file, const std::string& path,
                         const std::string& name, const std::vector<int64_t>& shape) {
  const NamedBlob* blob = file.view.find(name);
  if (!blob) {
    throw_error(ErrorCode::data, path, ": tensor ", name,
                " is missing; is this another model's file?");
  }
  if (blob->type != StoredType::f32 || blob->shape != shape) {
    throw_error(ErrorCode::data, path, ": tensor ", name, " is ", stored_type_name(blob->type), " ",
                shape_text(blob->shape), "; the model expects F32 ", shape_text(shape));
  }
  return *blob;
}

void load_weights(ParamStore& params, const SafetensorsFile& file, const std::string& path) {
  for (const NamedBlob& blob : file.view.tensors) {
    const bool known = std::any_of(params.pieces().begin(), params.pieces().end(),
                                   [&](const auto& piece) { return piece.name == blob.name; });
    if (!known) {
      throw_error(ErrorCode::data, path, ": tensor ", in_quotes(blob.name),
                  " does not belong to this model");
    }
  }
  std::vector<float> span(static_cast<size_t>(params.span_count()), 0.0f);
  for (const ParamStore::Piece& piece : params.pieces()) {
    const NamedBlob blob = require_tensor(file, path, piece.name, dims_of(piece.shape));
    std::memcpy(span.data() + piece.offset, blob.bytes.data(), blob.bytes.size());
  }
  params.context().upload(params.values(), span.data(), span.size() * sizeof(float));
}

}  // namespace elbo
