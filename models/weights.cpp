#include "models/weights.h"

#include <algorithm>
#include <cstring>

namespace elbo {

NamedBlob require_tensor(const SafetensorsFile& file, const std::string& path,
                         const std::string& name, const std::vector<int64_t>& shape,
                         StoredType type) {
  const NamedBlob* blob = file.view.find(name);
  if (!blob) {
    throw_error(ErrorCode::data, path, ": tensor ", name,
                " is missing; is this another model's file?");
  }
  if (blob->type != type || blob->shape != shape) {
    throw_error(ErrorCode::data, path, ": tensor ", name, " is ", stored_type_name(blob->type), " ",
                shape_text(blob->shape), "; the model expects ", stored_type_name(type), " ",
                shape_text(shape));
  }
  return *blob;
}

void read_piece(const ParamStore::Piece& piece, const NamedBlob& blob, float* span) {
  if (!piece.file.moves()) {
    std::memcpy(span + piece.offset, blob.bytes.data(), blob.bytes.size());
    return;
  }
  std::vector<float> file(static_cast<size_t>(piece.count));  // a blob need not be aligned
  std::memcpy(file.data(), blob.bytes.data(), blob.bytes.size());
  from_file_layout(piece.file, file.data(), span + piece.offset);
}

void write_piece(const ParamStore::Piece& piece, const float* span, float* file) {
  if (piece.file.moves()) {
    to_file_layout(piece.file, span + piece.offset, file);
  } else {
    std::copy_n(span + piece.offset, piece.count, file);
  }
}

void append_buffers(const BufferStore& buffers, std::span<const std::byte> bytes,
                    std::vector<NamedBlob>& blobs) {
  for (const BufferStore::Piece& piece : buffers.pieces()) {
    blobs.push_back(
        {piece.name, piece.type, dims_of(piece.shape), bytes.subspan(piece.offset, piece.bytes)});
  }
}

namespace {

void load_pieces(ParamStore& params, const SafetensorsFile& file, const std::string& path,
                 bool training_only) {
  std::vector<float> span(static_cast<size_t>(params.span_count()), 0.0f);
  for (const ParamStore::Piece& piece : params.pieces()) {
    if (piece.training_only != training_only) continue;
    read_piece(piece, require_tensor(file, path, piece.name, piece.file.dims), span.data());
    params.context().upload(static_cast<float*>(params.values()) + piece.offset,
                            span.data() + piece.offset,
                            static_cast<size_t>(piece.count) * sizeof(float));
  }
}

}  // namespace

void load_training_only(ParamStore& params, const SafetensorsFile& file, const std::string& path) {
  load_pieces(params, file, path, true);
}

void load_weights(ParamStore& params, const SafetensorsFile& file, const std::string& path) {
  for (const NamedBlob& blob : file.view.tensors) {
    const auto is_it = [&](const auto& piece) { return piece.name == blob.name; };
    const auto is_parameter = [&](const ParamStore::Piece& piece) {
      return is_it(piece) && !piece.training_only;
    };
    if (!std::any_of(params.pieces().begin(), params.pieces().end(), is_parameter) &&
        !std::any_of(params.buffers().pieces().begin(), params.buffers().pieces().end(), is_it)) {
      throw_error(ErrorCode::data, path, ": tensor ", in_quotes(blob.name),
                  " does not belong to this model");
    }
  }
  std::vector<std::byte> bytes(params.buffers().bytes());
  for (const BufferStore::Piece& piece : params.buffers().pieces()) {
    const NamedBlob blob = require_tensor(file, path, piece.name, dims_of(piece.shape), piece.type);
    std::memcpy(bytes.data() + piece.offset, blob.bytes.data(), blob.bytes.size());
  }
  load_pieces(params, file, path, false);
  params.buffers().upload(bytes.data());
}

}  // namespace elbo
