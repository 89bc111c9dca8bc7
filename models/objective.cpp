#include "models/objective.h"

namespace elbo {
namespace {

// A scalar of the step state as the weight of every row's loss, averaged over the batch.
RowWeight batch_mean_weight(const float* value, int64_t batch, Device device) {
  RowWeight weight;
  weight.values = external_tensor(const_cast<float*>(value), Shape{1}, device);
  weight.scale = 1.0 / static_cast<double>(std::max<int64_t>(batch, 1));
  return weight;
}

}  // namespace

ObjectiveTerms elbo_objective(Tape& tape, const Autoencoder& model, const ImageBatch& images,
                              const NoiseSource& noise, const StepState* state) {
  const int64_t batch = images.target.shape[0];
  RowWeight recon_weight, kl_weight;
  if (state && tape.recording()) {
    recon_weight = batch_mean_weight(&state->recon_weight, batch, tape.device());
    kl_weight = batch_mean_weight(&state->kl_weight, batch, tape.device());
  }
  ObjectiveTerms terms;
  if (model.variational()) {
    const LatentBlock block = model.sample(tape, images.input, noise, kl_weight);
    terms.kl = block.latent.kl;
    terms.has_kl = true;
    terms.nll = model.decode_nll(tape, block.y, 1, images.target, recon_weight);
  } else {
    const Tensor code = model.encode(tape, images.input);
    terms.nll = model.decode_nll(tape, code, 0, images.target, recon_weight);
  }
  return terms;
}

}  // namespace elbo
