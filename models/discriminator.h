// The network that tells latents from latents with shuffled dimensions, and with it the total correlation
// of FactorVAE (kernels/density_ratio.h). It is trained along, by an optimiser of its own; a trained
// autoencoder does without it.
//
// Layers    fully connected with leaky ReLU (slope 0.01), one logit; parameters discriminator.0.weight, ...
// Source    Kim & Mnih 2018, arXiv:1802.05983: six layers of 1,000, Adam with betas 0.5 and 0.9
#pragma once

#include <cstdint>
#include <vector>

#include "engine/param_store.h"
#include "engine/tape.h"
#include "kernels/noise_source.h"
#include "kernels/optimizer.h"
#include "models/network.h"

namespace elbo {

class Discriminator {
 public:
  // Registers the parameters, with what has been added to the store's last group.
  Discriminator(ParamStore& params, int64_t latent_dim, const std::vector<int64_t>& hidden,
                InitKind init);

  static OptimizerHyper optimizer();

  // From z [B, D]: its own loss, a mean of 2B cross-entropies, and factor times the total correlation,
  // [1] and in nats both. It takes the gradient of the former, z that of the latter; both start
  // here, so the values are for reading alone. `one` is 1 in device memory.
  struct Terms {
    Tensor loss, total_correlation;
  };
  Terms terms(Tape& tape, const Tensor& z, float factor, const NoiseSource& noise,
              const Tensor& one) const;

 private:
  Network network_;
};

}  // namespace elbo
