// Negative log-likelihoods of a decoder's output, in nats per image (summed over pixels).
//
// With a weight, loss and gradient are one pass: the gradient of the output is left behind at once
// and backward has nothing to do. Without one only the loss is computed.
//
// Shapes    output, target [B, D]; nll [B]; outputs of two kinds per value [B, 2D], of each pixel
//           [first of its channels | second of its channels]
// Formulas  kernels/bernoulli_nll.h, kernels/gaussian_nll.h, kernels/output_nll.h
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

// One variance exp(bounded(log_variance)), a parameter [1] of the model.
Tensor gaussian_learned_nll(Tape& tape, ParamStore& params, const Tensor& mean,
                            const Tensor& target, ParamStore::Id log_variance,
                            const RowWeight& weight);

// One variance, the batch's mean squared error, which moves a running mean on, a buffer [1]; or
// outside of training that running mean (kernels/batch_variance.h). The gradient is exact if all
// rows weigh the same.
Tensor gaussian_optimal_nll(Tape& tape, ParamStore& params, const Tensor& mean,
                            const Tensor& target, BufferStore::Id variance, bool training,
                            const RowWeight& weight);

Tensor continuous_bernoulli_nll(Tape& tape, const Tensor& logits, const Tensor& target,
                                const RowWeight& weight);

// Fixed scale exp(log_scale).
Tensor laplace_nll(Tape& tape, const Tensor& median, const Tensor& target, float log_scale,
                   const RowWeight& weight);

// Two outputs per value.
Tensor gaussian_diagonal_nll(Tape& tape, const Tensor& output, const Tensor& target,
                             int64_t channels, const RowWeight& weight);
Tensor logistic_nll(Tape& tape, const Tensor& output, const Tensor& target, int64_t channels,
                    const RowWeight& weight);
Tensor beta_nll(Tape& tape, const Tensor& output, const Tensor& target, int64_t channels,
                const RowWeight& weight);

// linear() without activation, and bernoulli_nll() or gaussian_nll() of its output. Where our own
// products are used a training step does both in one launch and the output is never stored
// (kernels/likelihood_layer.h); then the result is [parts * B], part by part, and a row's loss the
// sum of its parts.
Tensor likelihood_layer(Tape& tape, ParamStore& params, const Tensor& x, ParamStore::Id weight,
                        ParamStore::Id bias, const Tensor& target, Likelihood likelihood,
                        float log_variance, const RowWeight& loss_weight);

}  // namespace elbo
