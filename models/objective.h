// What training minimises, in nats per image, averaged over the batch:
//
//   recon_weight * nll + kl_weight * kl              the ELBO with both weights 1, or beta-VAE
//   -log (1/k sum_k p(x, z_k) / q(z_k | x))          IWAE; with DReG gradients of the encoder
//   nll + MI + beta TC + dimension-wise KL           beta-TCVAE
//   nll + commitment |latent - its codes|^2          VQ-VAE
//
// the likelihood summed over pixels, the KL over latents; plus the penalties of ObjectiveConfig. Free
// bits take max(free_bits, KL of the batch's mean) of each dimension, capacity gamma |KL - C|.
//
// With a classifier the label of an image may be hidden, and its bound is summed over all labels
// (objective_labels.cpp).
//
// Reading guide: training_objective() chooses; elbo_objective() is the fused path that evaluation takes
// too; objective_bounds.cpp has the others.
#pragma once

#include "engine/image_data.h"
#include "engine/tape.h"
#include "kernels/noise_source.h"
#include "models/autoencoder.h"
#include "models/discriminator.h"

namespace elbo {

struct ObjectiveTerms {
  Tensor nll;  // nats per image: [B], or [parts * B] as likelihood_layer() says
  Tensor kl;   // [B]; no data for a plain autoencoder
  bool has_kl = false;
  Tensor total;          // [1], what is minimised; no data: the weighted sum of the two
  Tensor perplexity;     // [1], of the batch's codes; no data without a codebook
  Tensor discriminator;  // [1], its own loss; no data without one
};

// Scalars in device memory that are read while a step runs: those of a StepState, in training.
struct ObjectiveWeights {
  Tensor recon, kl, capacity, one;  // [1]
};
ObjectiveWeights weights_of(const StepState& state, Device device);

// What an objective reads besides the images.
struct ObjectiveInput {
  NoiseSource noise;  // of the latent
  ObjectiveWeights weights;
  const ObjectiveConfig* config;
  int64_t samples = 0;                           // images in the training set
  double labelled_share = 1;                     // of them: those whose label is known
  const Discriminator* discriminator = nullptr;  // where config asks for a total correlation
};

// The final weight of the KL: beta, or beta_norm * pixels / latents, so that minimising the weighted sum is
// minimising mean over pixels + beta_norm * mean over latents (Higgins et al. 2017, appendix A.4).
float final_kl_weight(const TrainConfig& train, int64_t pixels, int64_t latents);

// ErrorCode::usage naming the key, if a model cannot be trained on an objective.
void check_objective(const TrainConfig& train, const ModelConfig& model, bool bf16);

// The ELBO's two terms. With weights gradient flow starts here: call tape.backward() afterwards.
ObjectiveTerms elbo_objective(Tape& tape, const Autoencoder& model, const ImageBatch& images,
                              const NoiseSource& noise, const ObjectiveWeights* weights);

// Whatever config says; gradient flow starts here too.
ObjectiveTerms training_objective(Tape& tape, const Autoencoder& model, const ImageBatch& images,
                                  const ObjectiveInput& input);

// A scalar as the weight of every row's loss, averaged over the batch.
RowWeight batch_mean_weight(const Tensor& value, int64_t batch);

// log q(z | x) - log p(z) of a draw: the KL divergence on average, where it has no closed form. [B]
Tensor sampled_kl(Tape& tape, const Autoencoder& model, const Tensor& z, const Tensor& stats);

// The bounds and penalties that elbo_objective() does not know.
ObjectiveTerms composed_objective(Tape& tape, const Autoencoder& model, const ImageBatch& images,
                                  const ObjectiveInput& input);

// Of a model with a classifier, labels below 0 being hidden.
ObjectiveTerms label_objective(Tape& tape, const Autoencoder& model, const ImageBatch& images,
                               const ObjectiveInput& input);

}  // namespace elbo
