// The mistakes that VAE code in public makes most often, as variants of the objective for tests: each
// must be caught by a unit property, and by the auditor after a short training run.
#pragma once

#include <string>
#include <vector>

#include "engine/ops/latent_op.h"

namespace elbo {

enum class Mistake : int {
  none,
  kl_without_half,     // KL = sum(mu^2 + e^v - 1 - v): beta is 2
  mean_bce,            // cross-entropy averaged over pixels, KL summed over latents: beta is D
  uniform_noise,       // eps ~ U(0, 1) instead of N(0, 1)
  sigma_for_variance,  // z = mu + e^v eps where KL takes e^v for the variance
  flipped_kl,          // KL with the wrong sign
};
inline constexpr Mistake kMistakes[] = {Mistake::kl_without_half, Mistake::mean_bce,
                                        Mistake::uniform_noise, Mistake::sigma_for_variance,
                                        Mistake::flipped_kl};
const char* mistake_name(Mistake mistake);

// reparam_kl() with a mistake in it, forward and backward consistent with each other, so that only the
// formula is wrong. CPU, fp32.
LatentSample mistaken_reparam_kl(Tape& tape, const Tensor& stats, const NoiseSource& noise,
                                 const RowWeight& kl_weight, Mistake mistake);

// What the cross-entropy of D pixels is multiplied with: 1, or 1/D for the mistake.
float recon_weight(Mistake mistake, int64_t pixels);

// Unit properties that the latent and the reconstruction term must have; the names of those violated.
std::vector<std::string> violated_properties(Mistake mistake);

}  // namespace elbo
