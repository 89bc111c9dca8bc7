// Self-attention with one head.
//
//   y = softmax(q k^T / sqrt(C)) v, where every position of a sample looks at all of its positions
//
// Shapes    q, k, v, y [B, H, W, C] (NHWC) or [B, N, C], all alike
// Gradient  kernels/attention.h; the probabilities, [B, N, N], are kept for it
// Errors    elbo::Error if shapes or types disagree
#pragma once

#include "engine/tape.h"

namespace elbo {

Tensor attention(Tape& tape, const Tensor& q, const Tensor& k, const Tensor& v);

}  // namespace elbo
