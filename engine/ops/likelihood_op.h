// Negative log-likelihoods of a decoder's output, in nats per image (summed over pixels).
//
// With a weight, loss and gradient are one pass: the gradient of the output is left behind at once
// and backward has nothing to do. Without one only the loss is computed.
//
// Shapes    output, target [B, D]; nll [B]
// Formulas  kernels/bernoulli_nll.h, kernels/gaussian_nll.h
#pragma once

#include "engine/ops/op_support.h"
#include "kernels/likelihood_layer.h"

namespace elbo {

// target: f32 (or f64 on the oracle path) in [0, 1], or u8 that means value / 255.
Tensor bernoulli_nll(Tape& tape, const Tensor& logits, const Tensor& target,
                     const RowWeight& weight);

// Fixed variance exp(log_variance); log_variance = 0 is half the squared error plus D/2 log 2 pi.
Tensor gaussian_nll(Tape& tape, const Tensor& mean, const Tensor& target, float log_variance,
                    const RowWeight& weight);

// linear() without activation, and one of the above for its output. Where our own products are used a
// training step does both in one launch and the output is never stored (kernels/likelihood_layer.h);
// then the result is [parts * B], part by part, and a row's loss the sum of its parts.
Tensor likelihood_layer(Tape& tape, ParamStore& params, const Tensor& x, ParamStore::Id weight,
                        ParamStore::Id bias, const Tensor& target, Likelihood likelihood,
                        float log_variance, const RowWeight& loss_weight);

}  // namespace elbo
