// What benchmarks train, and data for it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/io/image_set.h"
#include "models/config.h"

namespace elbo::bench {

// "mlp-mnist"   784-400-20, ReLU, as in pytorch/examples              28 x 28
// "burda"       784-200-200-50, tanh, after Burda et al. 2015         28 x 28
// "conv32"      the preset; 1,119,811 parameters                      32 x 32 x 3
// "burgess64"   the preset; 766,295 parameters                        64 x 64 x 3
// "vanilla64"   the preset, batch normalisation; 3,937,635 parameters 64 x 64 x 3
//
// All: pixels / 255 as targets, KL, Adam 1e-3, whole batches only, no end. Bernoulli likelihood, but for
// vanilla64, whose Gaussian has the variance 1 / (2 pi) that makes its constant vanish: a large one would
// hide differences of what is left.
// Throws ErrorCode::usage if there is no such workload.
RunConfig workload_config(const std::string& name, int64_t batch);
const std::vector<std::string>& workload_names();

// Pictures for a workload, without pixels: size and number. Fewer of the larger ones.
ImageSplit workload_images(const std::string& name);

// Sprites of a workload's size and number, so that losses that are to be compared fall; in colour the
// channels differ in brightness. At 28 x 28 5 % of their pixels are not zero, of MNIST's
// 19 %: the products of the first layer are faster the fewer there are.
ImageSplit drawn_images(const std::string& name);

}  // namespace elbo::bench
