// Sampling a latent and measuring what it costs.
//
//   z = mu + exp(logvar / 2) * eps,    kl = KL(N(mu, exp(logvar)) || N(0, I))
//
// Shapes    stats [B, 2D] = [mu | logvar], the output of one linear layer; z [B, D]; kl [B] in nats
// Gradient  fused: see kernels/reparam_kl.h; the noise is recomputed, not stored
#pragma once

#include "engine/ops/op_support.h"
#include "kernels/activation.h"
#include "kernels/noise_source.h"

namespace elbo {

struct LatentSample {
  Tensor z;
  Tensor kl;
};

LatentSample reparam_kl(Tape& tape, const Tensor& stats, const NoiseSource& noise,
                        const RowWeight& kl_weight);

// A layer with a bias, and the name that its ops bear.
struct LayerParams {
  const char* label;  // must outlive the step
  ParamStore::Id weight, bias;
  Activation activation = Activation::identity;
};

struct LatentBlock {
  LatentSample latent;
  Tensor y;
};

// The narrow middle of a VAE: the layer that makes stats, reparam_kl of them, and the decoder's first
// layer.
//
// Shapes    x [B, in]; heads' weight [2D, in], bias [2D], no activation; decoder's weight [H, D];
//           y [B, H]
// Work      CUDA: one launch each way for small layers (kernels/latent_block.h), and the weights'
//           gradients beside it. CPU: the three ops one after the other.
LatentBlock latent_block(Tape& tape, ParamStore& params, const Tensor& x, const LayerParams& heads,
                         const NoiseSource& noise, const RowWeight& kl_weight,
                         const LayerParams& decoder);

// Draws of N(0, I), [batch, dim]: a constant.
Tensor prior_sample(Tape& tape, int64_t batch, int64_t dim, DType dtype, const NoiseSource& noise);

// mu alone, [B, D], as a contiguous tensor: what evaluation decodes.
Tensor posterior_mean(Tape& tape, const Tensor& stats);

}  // namespace elbo
