// Negative log-likelihoods of a decoder's output, in nats per image (summed over pixels).
//
// With a weight, loss and gradient are one pass: the gradient of the output is left behind at once
// and backward has nothing to do. Without one only the loss is computed.
//
// Shapes    output, target [B, D]; nll [B]
// Formulas  kernels/bernoulli_nll.h, kernels/gaussian_nll.h
#pragma once

#include "engine/ops/op_support.h"

namespace elbo {

// target: f32 (or f64 on the oracle path) in [0, 1], or u8 that means value / 255.
Tensor bernoulli_nll(Tape& tape, const Tensor& logits, const Tensor& target,
                     const RowWeight& weight);

// Fixed variance exp(log_variance); log_variance = 0 is half the squared error plus D/2 log 2 pi.
Tensor gaussian_nll(Tape& tape, const Tensor& mean, const Tensor& target, float log_variance,
                    const RowWeight& weight);

}  // namespace elbo
