// What training minimises: the mean over the batch of  recon_weight * nll + kl_weight * kl.
//
// With both weights 1 that is -ELBO in nats per image: the likelihood summed over pixels, the KL summed
// over latents, both averaged over the batch.
#pragma once

#include "engine/image_data.h"
#include "engine/tape.h"
#include "kernels/noise_source.h"
#include "models/autoencoder.h"

namespace elbo {

struct ObjectiveTerms {
  Tensor nll;  // nats per image: [B], or [parts * B] as likelihood_layer() says
  Tensor kl;   // [B]; no data for a plain autoencoder
  bool has_kl = false;
};

// Weights are read from `state` in device memory while the step runs; null computes the terms alone.
// Gradient flow starts here: call tape.backward() afterwards.
ObjectiveTerms elbo_objective(Tape& tape, const Autoencoder& model, const ImageBatch& images,
                              const NoiseSource& noise, const StepState* state);

}  // namespace elbo
