// The decoder's distribution p(x | z): what its last layer's output means.
//
//   bernoulli  output = logits;  picture = sigmoid(output)
//   gaussian   output = mean, variance exp(log_variance) fixed;  picture = output cut to [0, 1]
#pragma once

#include <cstdint>

#include "engine/ops/likelihood_op.h"
#include "models/config.h"

namespace elbo {

// Nats per image, [B]; see engine/ops/likelihood_op.h for `weight`.
Tensor likelihood_nll(Tape& tape, const ModelConfig& config, const Tensor& output,
                      const Tensor& target, const RowWeight& weight);

// What a person looks at: the mean of p(x | z), in place on host memory.
void output_to_picture(const ModelConfig& config, int64_t count, float* output);

}  // namespace elbo
