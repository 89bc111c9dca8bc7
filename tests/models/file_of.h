// What a checkpoint would hold of a model's parameters, as the auditor reads it.
#pragma once

#include <vector>

#include "engine/param_store.h"
#include "models/weights.h"
#include "tests/support/tensor_map.h"

namespace elbo {

inline TensorMap file_of(const ParamStore& params) {
  TensorMap map;
  const auto* span = static_cast<const float*>(params.values());
  for (const ParamStore::Piece& piece : params.pieces()) {
    std::vector<float> file(static_cast<size_t>(piece.count));
    write_piece(piece, span, file.data());
    map.add(piece.name, piece.file.dims, {file.begin(), file.end()});
  }
  return map;
}

}  // namespace elbo
