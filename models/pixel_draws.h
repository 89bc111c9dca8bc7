// Draws from p(x | z), where a picture usually shows its mean.
//
//   value d of row i is drawn with noise of purpose `pixels` at (seed, sample i, dimension d), so
//   it depends on nothing else: not on how many rows there are, nor on the device.
//
// Shapes    output: rows of a decoder's output, as output_to_pictures() takes them; the result rows
//           of images
// Numerics  in double on the host. What falls outside of [0, 1] is not cut off.
// Source    beta by two gamma draws: Marsaglia & Tsang 2000, doi:10.1145/358407.358414
#pragma once

#include <cstdint>
#include <vector>

#include "models/config.h"

namespace elbo {

// `log_variance` is that of the Gaussians of one variance (PixelLikelihood::log_variance()).
std::vector<float> draw_pixels(const ModelConfig& config, int64_t channels, double log_variance,
                               const std::vector<float>& output, int64_t image_size, uint64_t seed);

}  // namespace elbo
