// A model as JSON: what another framework needs in order to build the same network.
//
//   {"image": [H, W, C], "latent": 10, "likelihood": "bernoulli", "log_variance": 0,
//    "encoder": [LAYER, ...], "heads": LAYER, "decoder": [LAYER, ...]}
//
// A LAYER has "kind" (conv, conv_transpose, linear, norm), "names" of its weights in the safetensors
// file (the heads have two, for mean and log-variance), "activation", "flatten": [C, H, W] where it
// sees a picture as a vector, "unflatten": [C, H, W] where it sees a vector as a picture,
// "batch_norm": name where one follows, and if it is a convolution "kernel", "stride", "padding",
// "dilation" and "output_padding", each [H, W].
#pragma once

#include <string>

#include "models/autoencoder.h"

namespace elbo::bench {

// Throws ErrorCode::usage for layers that no workload has.
std::string describe_network(const Autoencoder& model);

}  // namespace elbo::bench
