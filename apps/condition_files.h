// What a conditional model is told of images or latents, row by row, as .npy files.
//
// Shapes    labels [N] of whole numbers; attributes [N, A] in the data's units, in the order of the
//           run's data.attributes
// Errors    ErrorCode::usage if the model is told nothing; ErrorCode::data: file, found, expected
#pragma once

#include <string>

#include "models/inference.h"

namespace elbo {

// Throws unless the model is conditional.
void need_condition(const std::string& flag, const Autoencoder& model);

Conditions read_conditions(const std::string& path, const Autoencoder& model, int64_t rows);
void write_conditions(const std::string& path, const Conditions& conditions,
                      const Autoencoder& model);

}  // namespace elbo
