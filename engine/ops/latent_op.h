// Sampling a latent and measuring what it costs.
//
//   z = mu + exp(logvar / 2) * eps,    kl = KL(N(mu, exp(logvar)) || N(0, I))
//
// Shapes    stats [B, 2D] = [mu | logvar], the output of one linear layer; z [B, D]; kl [B] in nats
// Gradient  fused: see kernels/reparam_kl.h; the noise is recomputed, not stored
#pragma once

#include "engine/ops/op_support.h"
#include "kernels/noise_source.h"

namespace elbo {

struct LatentSample {
  Tensor z;
  Tensor kl;
};

LatentSample reparam_kl(Tape& tape, const Tensor& stats, const NoiseSource& noise,
                        const RowWeight& kl_weight);

// The layer that makes stats, and reparam_kl of them, as one op (kernels/latent_head.h).
// x [B, in]; weight [2D, in]; bias [2D].
LatentSample latent_head(Tape& tape, ParamStore& params, const Tensor& x, ParamStore::Id weight,
                         ParamStore::Id bias, const NoiseSource& noise, const RowWeight& kl_weight);

// mu alone, [B, D], as a contiguous tensor: what evaluation decodes.
Tensor posterior_mean(Tape& tape, const Tensor& stats);

}  // namespace elbo
