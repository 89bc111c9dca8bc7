// What benchmarks train: the two small VAEs and a data set for them.
#pragma once

#include <cstdint>
#include <string>

#include "engine/io/idx.h"
#include "models/config.h"

namespace elbo::bench {

inline constexpr int64_t kImages = 60000;
inline constexpr int64_t kSide = 28;

// "mlp-mnist": 784-400-20, ReLU, as in pytorch/examples. "burda": 784-200-200-50, tanh, after Burda et al.
// Both: pixels / 255 as Bernoulli targets, KL, Adam 1e-3, whole batches only, no end.
// Throws ErrorCode::usage if there is no such workload.
RunConfig workload_config(const std::string& name, int64_t batch);

// Sprites of MNIST's size and number, so that losses that are to be compared fall. 5 % of their pixels
// are not zero, of MNIST's 19 %: the products of the first layer are faster the fewer there are.
ImageSplit drawn_images();

}  // namespace elbo::bench
