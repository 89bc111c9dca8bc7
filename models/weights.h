// Loading weights by name from a safetensors file.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "engine/io/safetensors.h"
#include "engine/param_store.h"

namespace elbo {

// The tensor `name` of a file; throws ErrorCode::data naming file and tensor if it is missing or has
// another shape or type.
NamedBlob require_tensor(const SafetensorsFile& file, const std::string& path,
                         const std::string& name, const std::vector<int64_t>& shape,
                         StoredType type = StoredType::f32);

// One piece of a store as a file holds it. read_piece() writes to where the piece lies in `span`;
// write_piece() does the opposite and needs piece.count elements.
void read_piece(const ParamStore::Piece& piece, const NamedBlob& blob, float* span);
void write_piece(const ParamStore::Piece& piece, const float* span, float* file);

// Appends a store's buffers, of which `bytes` is a download, to what a checkpoint holds.
void append_buffers(const BufferStore& buffers, std::span<const std::byte> bytes,
                    std::vector<NamedBlob>& blobs);

// All parameters and buffers of a store but those of training alone. Tensors of the file that the model does not know are an error
// too: they belong to another model.
void load_weights(ParamStore& params, const SafetensorsFile& file, const std::string& path);
// Those of training alone, which a checkpoint keeps beside the optimiser's state.
void load_training_only(ParamStore& params, const SafetensorsFile& file, const std::string& path);

}  // namespace elbo
