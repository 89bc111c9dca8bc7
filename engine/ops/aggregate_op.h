// What a batch of posteriors is like as a whole: the material of penalties on the aggregate posterior.
//
//   mean_kl         y[d] = mean over the batch of dimension d's KL divergence to N(0, 1), nats
//   covariance      of the posteriors' means, or with Spread::samples of samples of the aggregate posterior
//   dip_penalty     off sum_{i != j} c[i,j]^2 + diagonal sum_i (c[i,i] - 1)^2
//   mmd             distance between a batch of latents and as many draws of N(0, I)
//
// Shapes    stats = [mu | logvar] [B, 2D]; z, draws [B, D]; mean_kl [D]; covariance [D, D]; others [1]
// Formulas  kernels/latent_moments.h, kernels/loss_terms.h, kernels/mmd.h
// Errors    elbo::Error if shapes disagree, or a moment of an empty batch is asked for
#pragma once

#include "engine/ops/op_support.h"
#include "kernels/latent_moments.h"
#include "kernels/loss_terms.h"

namespace elbo {

Tensor mean_kl(Tape& tape, const Tensor& stats);
Tensor covariance(Tape& tape, const Tensor& stats, Spread spread);
Tensor dip_penalty(Tape& tape, const Tensor& covariance, const DipWeights& weights);
Tensor mmd(Tape& tape, const Tensor& z, const Tensor& draws);

}  // namespace elbo
