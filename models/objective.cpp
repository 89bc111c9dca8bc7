#include "models/objective.h"

#include "engine/ops/basis_op.h"
#include "engine/ops/density_op.h"
#include "kernels/error.h"
#include "models/layer_spec.h"

namespace elbo {
namespace {

void refuse(const char* key, const char* why) {
  throw_error(ErrorCode::usage, "train.objective.", key, " ", why);
}

bool uses_kl_term(const ObjectiveConfig& c) { return c.free_bits > 0 || c.capacity_weight > 0; }
bool uses_posterior(const ObjectiveConfig& c) {
  return c.bound != Bound::elbo || uses_kl_term(c) || c.dip_off_diagonal > 0 || c.dip_diagonal > 0;
}

// The bound of a hidden label is a sum over all of them, each with its own ELBO.
void check_classifier(const ObjectiveConfig& c, const ModelConfig& model) {
  if (!model.variational()) {
    throw_error(ErrorCode::usage,
                "model.classifier: a hidden label needs a bound on log p(x), and model.kind is a "
                "plain autoencoder; use a VAE");
  }
  if (!c.is_elbo()) {
    throw_error(ErrorCode::usage,
                "model.classifier goes with the ELBO alone, which is summed over labels; leave out "
                "train.objective.bound, free_bits, capacity_weight, dip_*, mmd and factor");
  }
  if (model.likelihood == Likelihood::gaussian_optimal) {
    throw_error(ErrorCode::usage,
                "model.classifier weighs labels image by image, and the optimal variance is that "
                "of all of them; use model.likelihood gaussian-learned");
  }
}

void check_contractive(const ModelConfig& model) {
  if (model.conditional()) {
    refuse("contractive", "is for encoders that see images alone; leave out --condition");
  }
  const auto check_slope = [](Activation activation) {
    if (!needs_pre_activation(activation)) return;
    throw_error(ErrorCode::usage, "train.objective.contractive: the slope of ",
                activation_name(activation),
                " does not follow from its value; use tanh, sigmoid, softplus, relu, leaky_relu or "
                "identity");
  };
  check_slope(model.code_activation);
  if (!model.convolutional()) return check_slope(model.activation);
  for (const LayerSpec& layer : parse_layers(model.encoder)) {
    const bool known = layer.kind == LayerKind::conv || layer.kind == LayerKind::conv_transpose ||
                       layer.kind == LayerKind::linear;
    if (!known || layer.norm != NormKind::none) {
      throw_error(ErrorCode::usage, "train.objective.contractive: layer \"", layer.text,
                  "\"; the Jacobian is known of linear layers and convolutions without "
                  "normalisation");
    }
    check_slope(layer.activation);
  }
}

// A penalty on what the encoder makes is none on the codes that are decoded.
void check_quantised(const ObjectiveConfig& c, const ModelConfig& model, bool bf16) {
  if (!model.quantised()) return;
  if (bf16) {
    throw_error(ErrorCode::usage,
                "--precision bf16 does not go with model.codebook; use fp32 or tf32");
  }
  const std::pair<const char*, float> others[] = {
      {"l1", c.l1}, {"sparsity", c.sparsity}, {"contractive", c.contractive}, {"mmd", c.mmd}};
  for (const auto& [key, weight] : others) {
    if (weight > 0) refuse(key, "does not go with model.codebook, which has a commitment instead");
  }
}

// What is known of N(0, I) only.
void check_learned_prior(const ObjectiveConfig& c) {
  const char* key = c.free_bits > 0           ? "free_bits"
                    : c.capacity_weight > 0   ? "capacity_weight"
                    : c.bound == Bound::tcvae ? "bound"
                    : c.dip_off_diagonal > 0  ? "dip_off_diagonal"
                    : c.dip_diagonal > 0      ? "dip_diagonal"
                    : c.mmd > 0               ? "mmd"
                                              : nullptr;
  if (key) refuse(key, "is for the prior N(0, I); set model.prior to standard");
}

}  // namespace

bool ObjectiveConfig::is_elbo() const {
  return !uses_posterior(*this) && mmd == 0 && factor == 0 && l1 == 0 && sparsity == 0 &&
         contractive == 0;
}

float final_kl_weight(const TrainConfig& train, int64_t pixels, int64_t latents) {
  if (train.beta_norm == 0) return train.beta;
  return static_cast<float>(static_cast<double>(train.beta_norm) * static_cast<double>(pixels) /
                            static_cast<double>(latents));
}

void check_objective(const TrainConfig& train, const ModelConfig& model, bool bf16) {
  if (model.classifier) check_classifier(train.objective, model);
  const ObjectiveConfig& c = train.objective;
  check_quantised(c, model, bf16);
  if (model.prior == Prior::vamp) {
    if (bf16) {
      throw_error(ErrorCode::usage, "model.prior vamp needs --precision fp32 or tf32, found bf16");
    }
    check_learned_prior(c);
  }
  if (train.beta_norm > 0 && train.beta != 1) {
    throw_error(ErrorCode::usage, "train.beta_norm and train.beta both weigh the KL; use one");
  }
  if (c.is_elbo()) return;
  const bool importance = c.bound == Bound::iwae || c.bound == Bound::dreg;
  if (bf16) {
    refuse("bound",
           "and its penalties need --precision fp32 or tf32; bf16 knows the plain ELBO only");
  }
  if (!model.variational() && uses_posterior(c)) {
    throw_error(ErrorCode::usage,
                "the objective needs a posterior, and model.kind is a plain autoencoder; "
                "use a VAE, or leave out bound, free_bits, capacity_weight and dip_*");
  }
  if (model.variational() && (c.l1 > 0 || c.sparsity > 0 || c.contractive > 0)) {
    refuse(c.l1 > 0         ? "l1"
           : c.sparsity > 0 ? "sparsity"
                            : "contractive",
           "is for the code of a plain autoencoder; model.kind is a VAE");
  }
  if (c.contractive > 0) check_contractive(model);
  if (c.sparsity > 0 && model.code_activation != Activation::sigmoid) {
    refuse("sparsity", "needs a code in (0, 1): set model.code_activation to sigmoid");
  }
  if (c.sparsity > 0 && model.latent_channels > 0) {
    refuse("sparsity", "needs a code in (0, 1), and a latent that is a picture has no activation");
  }
  const bool weighted = c.recon_weight != 1 || train.beta != 1 || train.beta_norm != 0 ||
                        train.kl_schedule.kind != ScheduleKind::constant ||
                        train.kl_schedule.base != 1 || uses_kl_term(c);
  if (importance && weighted) {
    refuse("bound",
           "iwae and dreg have no terms to weigh: leave --beta, --recon-weight and "
           "train.kl_schedule at 1, free_bits and capacity_weight at 0");
  }
  if (importance && c.mmd > 0) {
    refuse("mmd", "compares independent latents, and iwae and dreg draw several per image");
  }
  if (importance && model.likelihood == Likelihood::gaussian_optimal) {
    refuse("bound",
           "weighs draws one by one, and the optimal variance is that of all of them; use "
           "model.likelihood gaussian-learned");
  }
  if (c.factor > 0 && !model.variational()) {
    refuse("factor", "needs a posterior, and model.kind is a plain autoencoder; use a VAE");
  }
  if (c.factor > 0 && importance) {
    refuse("factor", "shuffles independent latents, and iwae and dreg draw several per image");
  }
  if (c.free_bits > 0 && c.capacity_weight > 0) {
    refuse("free_bits", "and capacity_weight both replace the KL term; use one");
  }
  if (c.bound == Bound::tcvae && uses_kl_term(c)) {
    refuse("bound", "tcvae has a KL term of its own; leave out free_bits and capacity_weight");
  }
}

ObjectiveWeights weights_of(const StepState& state, Device device) {
  const auto scalar = [&](const float& value) {
    return external_tensor(const_cast<float*>(&value), Shape{1}, device);
  };
  return {scalar(state.recon_weight), scalar(state.kl_weight), scalar(state.capacity),
          scalar(state.one)};
}

RowWeight batch_mean_weight(const Tensor& value, int64_t batch) {
  RowWeight weight;
  weight.values = value;
  weight.scale = 1.0 / static_cast<double>(std::max<int64_t>(batch, 1));
  return weight;
}

Tensor sampled_kl(Tape& tape, const Autoencoder& model, const Tensor& z, const Tensor& stats) {
  return add(tape, log_density(tape, z, stats), scale(tape, model.log_prior(tape, z), -1));
}

ObjectiveTerms elbo_objective(Tape& tape, const Autoencoder& model, const ImageBatch& images,
                              const NoiseSource& noise, const ObjectiveWeights* weights) {
  const int64_t batch = images.target.shape[0];
  RowWeight recon_weight, kl_weight;
  if (weights && tape.recording()) {
    recon_weight = batch_mean_weight(weights->recon, batch);
    kl_weight = batch_mean_weight(weights->kl, batch);
  }
  ObjectiveTerms terms;
  if (model.has_learned_prior()) {
    ELBO_CHECK(!weights, "elbo_objective: a learned prior is trained by composed_objective()");
    const Tensor stats = model.encode(tape, images.input);
    const Tensor z = reparam_kl(tape, stats, noise, {}).z;
    terms.kl = sampled_kl(tape, model, z, stats);
    terms.has_kl = true;
    terms.nll = model.decode_nll(tape, z, 0, images.target, {});
  } else if (model.variational()) {
    const LatentBlock block = model.sample(tape, images.input, noise, kl_weight, images.condition);
    terms.kl = block.latent.kl;
    terms.has_kl = true;
    terms.nll = model.decode_nll(tape, block.y, 1, images.target, recon_weight);
  } else {
    const Tensor code = model.encode(tape, images.input, images.condition);
    terms.nll = model.decode_nll(tape, code, 0, images.target, recon_weight, images.condition);
  }
  return terms;
}

ObjectiveTerms training_objective(Tape& tape, const Autoencoder& model, const ImageBatch& images,
                                  const ObjectiveInput& input) {
  if (model.classifies()) return label_objective(tape, model, images, input);
  if (input.config->is_elbo() && !model.quantised() && !model.has_learned_prior())
    return elbo_objective(tape, model, images, input.noise, &input.weights);
  return composed_objective(tape, model, images, input);
}

}  // namespace elbo
