// A discriminator's view of a batch of latents, as FactorVAE has it.
//
//   permute_dimensions   z [B, D] -> rows [2B, D], the second half with every dimension shuffled by itself,
//                        and what a discriminator is to say of them: target [2B, 1], 1 where shuffled
//   ratio_weights        logits [2B, 1] -> w [2B], a constant: written to memory that scale_grad_rows() may
//                        have been given before it was known
//
// Gradient  of the rows that are not shuffled, to z
// Formulas  kernels/density_ratio.h
#pragma once

#include "engine/ops/op_support.h"
#include "kernels/noise_source.h"

namespace elbo {

struct PermutedLatents {
  Tensor rows, target;
};
PermutedLatents permute_dimensions(Tape& tape, const Tensor& z, const NoiseSource& noise);
void ratio_weights(Tape& tape, const Tensor& logits, float factor, const Tensor& w);

}  // namespace elbo
