// Latents and pictures as .npy files.
//
// Shapes    latents [N, D], or [D] for one; pictures [N, H, W], or [N, H, W, C] in colour
// Errors    ErrorCode::data: file, found, expected
#pragma once

#include <string>
#include <vector>

#include "engine/image_data.h"

namespace elbo {

// [n, latent_dim]; any real or whole type.
std::vector<float> read_latents(const std::string& path, int64_t latent_dim);

void write_latents(const std::string& path, const std::vector<float>& latents, int64_t latent_dim);
void write_pictures(const std::string& path, const std::vector<float>& pictures,
                    const ImageShape& shape);

}  // namespace elbo
