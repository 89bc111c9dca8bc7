// Putting an objective together from its terms.
//
//   weighted_loss   y = sum_b weight_b x[b]: a term of the objective. Its gradient starts at x, as those
//                   of likelihoods do; nothing but the value may be made of y.
//   shift           y[i] = x[i] + c
//   at_least        y[i] = max(x[i], floor)
//   distance        y[i] = |x[i] - target|, target [1] in device memory
//   l1_rows         y[b] = sum_d |x[b,d]|
//   mean_rows       y[d] = mean over b of x[b,d]
//   bernoulli_kl    y[i] = KL(Bernoulli(rho) || Bernoulli(x[i])), x in (0, 1)
//   importance_weights  w[b,k] = softmax over k of log_weight[b,k]: a constant, written to memory that
//                   scale_grad_rows may have been given before it was known
//   scale_grad_rows x itself, with row b of its gradient multiplied by w[b] on the way back
//
// Shapes    x as written: [n], [B] or [B, D]; weighted_loss [1]; importance_weights [B, K] as its input
// Units     those of x; bernoulli_kl in nats
// Formulas  kernels/loss_terms.h
#pragma once

#include "engine/ops/op_support.h"

namespace elbo {

Tensor weighted_loss(Tape& tape, const Tensor& x, const RowWeight& weight);
Tensor shift(Tape& tape, const Tensor& x, double c);
Tensor at_least(Tape& tape, const Tensor& x, float floor);
Tensor distance(Tape& tape, const Tensor& x, const Tensor& target);
Tensor l1_rows(Tape& tape, const Tensor& x);
Tensor mean_rows(Tape& tape, const Tensor& x);
Tensor bernoulli_kl(Tape& tape, float rho, const Tensor& x);
void importance_weights(Tape& tape, const Tensor& log_weight, const Tensor& w);
Tensor scale_grad_rows(Tape& tape, const Tensor& x, const Tensor& w);

}  // namespace elbo
