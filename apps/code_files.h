// Codes of models with a codebook as .npy files: whole numbers below its size, as many for each
// image as the model makes of one.
//
// Shapes    [N, codes per image], or [codes per image] for one
// Errors    ErrorCode::data: file, found, expected
#pragma once

#include <string>
#include <vector>

#include "models/autoencoder.h"

namespace elbo {

// int32.
void write_codes(const std::string& path, const std::vector<float>& latents,
                 const Autoencoder& model);

// Latents of a file that has either latents, as read_latents() does, or if the model has a codebook
// and they are whole numbers, codes.
std::vector<float> read_latents_or_codes(const std::string& path, const Autoencoder& model);

}  // namespace elbo
