// Log-densities of latents, for bounds that sample their KL divergence and for mixtures as priors.
//
//   log_density           y[b] = log N(z[b]; mu[b], exp(logvar[b]))           own posterior
//   prior_log_density     y[b] = log N(z[b]; 0, I)
//   pairwise_log_density  s[b,k] = log N(z[b]; mu[k], exp(logvar[k])) + log weight; or per dimension
//                         s[b*D + d, k], each dimension's by itself
//   mixture_log_density   y[b] = log sum_k weight N(z[b]; mu[k], exp(logvar[k])): logsumexp_rows of it
//
// Shapes    z [B, D]; stats = [mu | logvar] [B, 2D] or [K, 2D]; y [B]; s [B, K] or [B * D, K]
// Units     nats
// Gradient  of z and of stats; detach() either to stop it
// Formulas  kernels/gaussian_density.h
#pragma once

#include "engine/ops/op_support.h"
#include "kernels/gaussian_density.h"

namespace elbo {

Tensor log_density(Tape& tape, const Tensor& z, const Tensor& stats);
Tensor prior_log_density(Tape& tape, const Tensor& z);

enum class Pairing : int { joint, per_dimension };
Tensor pairwise_log_density(Tape& tape, const Tensor& z, const Tensor& stats, Pairing pairing,
                            const PairWeights& weights);
Tensor mixture_log_density(Tape& tape, const Tensor& z, const Tensor& stats,
                           const PairWeights& weights);

}  // namespace elbo
