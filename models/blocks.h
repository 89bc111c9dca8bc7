// The compound layers of KL autoencoders: residual blocks and self-attention, both with a way around.
//
//   residual    y = skip(x) + conv2(act(norm2(conv1(act(norm1(x))))))     3 x 3; skip is 1 x 1 or nothing
//   attention   y = x + proj_out(attention(q(norm(x)), k(norm(x)), v(norm(x))))
//
// Names     NAME.norm1, NAME.conv1, NAME.norm2, NAME.conv2, NAME.nin_shortcut; NAME.norm, NAME.q, NAME.k,
//           NAME.v, NAME.proj_out: those of the autoencoders of latent diffusion
// Source    Rombach et al. 2021, arXiv:2112.10752
#pragma once

#include <string>

#include "engine/tape.h"
#include "models/layer_params.h"

namespace elbo {

struct ResidualBlock {
  LayerSpec spec;
  NormParams norm1, norm2;
  LayerWeights conv1, conv2, skip;  // skip: only where the number of channels changes
};

ResidualBlock add_residual(ParamStore& params, InitKind init, const std::string& name,
                           const LayerPlan& plan);
Tensor residual(Tape& tape, ParamStore& params, const Tensor& x, const ResidualBlock& block);

struct AttentionBlock {
  LayerSpec spec;
  NormParams norm;
  LayerWeights q, k, v, proj_out;
};

AttentionBlock add_attention(ParamStore& params, InitKind init, const std::string& name,
                             const LayerPlan& plan);
Tensor self_attention(Tape& tape, ParamStore& params, const Tensor& x, const AttentionBlock& block);

// The normalisation that a layer asks for, with its activation.
Tensor normalise(Tape& tape, ParamStore& params, const Tensor& x, const NormParams& norm,
                 const LayerSpec& spec, Activation activation);

}  // namespace elbo
