// Bounds and penalties put together from single ops.
//
// Every term ends in weighted_loss(), where its gradient starts and which gives its value; the values'
// sum is what the step minimises. The reconstruction carries its weight itself, as everywhere.
#include <cmath>

#include "engine/ops/aggregate_op.h"
#include "engine/ops/basis_op.h"
#include "engine/ops/density_op.h"
#include "engine/ops/loss_op.h"
#include "models/objective.h"

namespace elbo {
namespace {

class Composer {
 public:
  Composer(Tape& tape, const Autoencoder& model, const ImageBatch& images,
           const ObjectiveInput& input)
      : tape_(tape),
        model_(model),
        images_(images),
        input_(input),
        config_(*input.config),
        batch_(images.target.shape[0]),
        kl_weight_(batch_mean_weight(input.weights.kl, batch_)),
        recon_weight_(batch_mean_weight(input.weights.recon, batch_)) {}

  ObjectiveTerms compose() {
    if (model_.quantised()) {
      nearest_codes();
    } else if (!model_.variational()) {
      plain_code();
    } else if (config_.bound == Bound::iwae || config_.bound == Bound::dreg) {
      importance_weighted();
    } else if (config_.bound == Bound::tcvae) {
      total_correlation();
    } else {
      evidence_bound();
    }
    terms_.total = total_;
    return terms_;
  }

 private:
  // weight_b * factor * x[b], summed.
  void add_term(const Tensor& x, RowWeight weight, double factor = 1.0) {
    weight.scale *= factor;
    const Tensor term = weighted_loss(tape_, x, weight);
    total_ = total_.shape.rank() > 0 ? add(tape_, total_, term) : term;
  }

  // Terms that are one number for the batch are weighted by a constant: 1 of the state, times a factor.
  void add_penalty(const Tensor& x, double factor) {
    add_term(x, RowWeight{input_.weights.one}, factor);
  }
  void add_mean(const Tensor& x, double factor) {
    add_penalty(x, factor / static_cast<double>(batch_));
  }

  void reconstruct(const Tensor& z) {
    terms_.nll = model_.decode_nll(tape_, z, 0, images_.target, recon_weight_, images_.condition);
    add_term(terms_.nll, recon_weight_);
  }

  LatentSample sample(const Tensor& stats, const RowWeight& kl_weight) {
    const LatentSample latent = reparam_kl(tape_, stats, input_.noise, kl_weight);
    terms_.kl = latent.kl;
    terms_.has_kl = true;
    return latent;
  }

  void plain_code() {
    NoiseSource noise = input_.noise;
    noise.purpose = NoisePurpose::tangent;
    Tensor code;
    if (config_.contractive > 0) {
      const Autoencoder::MovingCode moving = model_.encode_moving(tape_, images_.input, noise);
      code = moving.code;
      add_mean(moving.jacobian_norm, config_.contractive);
    } else {
      code = model_.encode(tape_, images_.input, images_.condition);
    }
    reconstruct(code);
    if (config_.l1 > 0) add_mean(l1_rows(tape_, code), config_.l1);
    if (config_.sparsity > 0) {
      const Tensor activity = mean_rows(tape_, code);
      add_penalty(bernoulli_kl(tape_, config_.sparsity_target, activity), config_.sparsity);
    }
    match_prior(code);
  }

  // Codes learn as running means, not by a gradient; the encoder's comes straight through them.
  void nearest_codes() {
    const ModelConfig& model = model_.config();
    const CodebookLearning learning{model.codebook_decay, model.codebook_restart, input_.noise};
    const Tensor latent = model_.encode_freely(tape_, images_.input, images_.condition);
    const QuantisedCode code = model_.quantise(tape_, latent, &learning);
    reconstruct(code.q);
    add_mean(code.squares, config_.commitment);
    terms_.perplexity = code.perplexity;
  }

  void evidence_bound() {
    const Tensor stats = model_.encode(tape_, images_.input, images_.condition);
    if (model_.has_learned_prior()) return learned_prior(stats);
    const bool plain_kl = config_.free_bits == 0 && config_.capacity_weight == 0;
    const LatentSample latent = sample(stats, plain_kl ? kl_weight_ : RowWeight{});
    if (plain_kl) {
      add_term(latent.kl, kl_weight_);
    } else if (config_.free_bits > 0) {
      RowWeight weight = kl_weight_;
      weight.scale = 1.0;  // the mean over the batch is taken already
      add_term(at_least(tape_, mean_kl(tape_, stats), config_.free_bits), weight);
    } else {
      const Tensor kl = sum_all(tape_, mean_kl(tape_, stats));
      add_penalty(distance(tape_, kl, input_.weights.capacity), config_.capacity_weight);
    }
    reconstruct(latent.z);
    penalise_aggregate(stats, latent.z);
  }

  void learned_prior(const Tensor& stats) {
    const Tensor z = sample(stats, {}).z;
    terms_.kl = sampled_kl(tape_, model_, z, stats);
    add_term(terms_.kl, kl_weight_);
    reconstruct(z);
    tell_from_shuffled(z);
  }

  // E[log q(z|x) - log q(z)] + beta E[log q(z) - sum_d log q(z_d)] + E[sum_d log q(z_d) - log p(z)],
  // the first and last weighted too. Chen et al. 2018, arXiv:1802.04942, equation 2.
  void total_correlation() {
    const Tensor stats = model_.encode(tape_, images_.input, images_.condition);
    const LatentSample latent = sample(stats, {});
    const Tensor& z = latent.z;
    const PairWeights weights = PairWeights::stratified(batch_, input_.samples);
    const Tensor posterior = log_density(tape_, z, stats);
    const Tensor aggregate = mixture_log_density(tape_, z, stats, weights);
    const Tensor each = logsumexp_rows(
        tape_, pairwise_log_density(tape_, z, stats, Pairing::per_dimension, weights));
    const Tensor product = sum_rows(tape_, reshape(tape_, each, {batch_, z.shape[1]}));
    add_mean(posterior, config_.mutual_information);
    add_mean(aggregate, -config_.mutual_information);
    add_term(aggregate, kl_weight_);
    add_term(product, kl_weight_, -1.0);
    add_mean(product, config_.dimension_kl);
    add_mean(prior_log_density(tape_, z), -config_.dimension_kl);
    reconstruct(z);
    penalise_aggregate(stats, z);
  }

  // Burda et al. 2015, arXiv:1509.00519, equation 14: the gradient of the bound is that of the terms under
  // the normalised weights w. DReG (Tucker et al. 2018, arXiv:1810.04152, equation 8) leaves out what the
  // encoder's parameters contribute directly, and weighs what comes through z by w once more.
  void importance_weighted() {
    const int64_t draws = config_.samples, rows = batch_ * draws;
    const bool doubly = config_.bound == Bound::dreg;
    const Tensor stats =
        repeat_rows(tape_, model_.encode(tape_, images_.input, images_.condition), draws);
    const LatentSample latent = sample(stats, {});
    const Tensor w = tape_.new_buffer({rows}, stats.dtype);
    const Tensor z = doubly ? scale_grad_rows(tape_, latent.z, w) : latent.z;
    const Tensor target = repeat_rows(tape_, images_.target, draws);
    const Tensor output = model_.decode(tape_, z, images_.condition);
    const Tensor nll = model_.likelihood().nll(tape_, output, target, {});
    const Tensor ratio =
        add(tape_, model_.log_prior(tape_, z),
            scale(tape_, log_density(tape_, z, doubly ? detach(stats) : stats), -1));
    const Tensor log_weight =
        reshape(tape_, add(tape_, detach(ratio), scale(tape_, nll, -1)), {batch_, draws});
    importance_weights(tape_, log_weight, w);

    const RowWeight weight{w, 1.0 / static_cast<double>(batch_)};
    model_.likelihood().nll(tape_, output, target, weight);  // now for its gradient
    RowWeight negative = weight;
    negative.scale = -weight.scale;
    weighted_loss(tape_, ratio, negative);
    const Tensor bound = shift(tape_, logsumexp_rows(tape_, detach(log_weight)),
                               -std::log(static_cast<double>(draws)));
    add_mean(bound, -1.0);
    terms_.nll = mean_over_draws(nll, draws);
    terms_.kl = mean_over_draws(
        model_.has_learned_prior() ? scale(tape_, detach(ratio), -1) : latent.kl, draws);
    penalise_aggregate(stats, latent.z);
  }

  Tensor mean_over_draws(const Tensor& x, int64_t draws) {
    const Tensor sums = sum_rows(tape_, reshape(tape_, detach(x), {batch_, draws}));
    return scale(tape_, sums, 1.0 / static_cast<double>(draws));
  }

  void penalise_aggregate(const Tensor& stats, const Tensor& z) {
    if (config_.dip_off_diagonal > 0 || config_.dip_diagonal > 0) {
      const Tensor c = covariance(tape_, stats, config_.dip_covariance);
      add_penalty(dip_penalty(tape_, c, {config_.dip_off_diagonal, config_.dip_diagonal}), 1.0);
    }
    match_prior(z);
    tell_from_shuffled(z);
  }

  void tell_from_shuffled(const Tensor& z) {
    if (config_.factor == 0) return;
    ELBO_CHECK(input_.discriminator, "a total correlation is asked for without a discriminator");
    const Discriminator::Terms found =
        input_.discriminator->terms(tape_, z, config_.factor, input_.noise, input_.weights.one);
    total_ = add(tape_, total_, found.total_correlation);
    terms_.discriminator = found.loss;
  }

  void match_prior(const Tensor& z) {
    if (config_.mmd == 0) return;
    NoiseSource noise = input_.noise;
    noise.purpose = NoisePurpose::match;
    add_penalty(mmd(tape_, z, prior_sample(tape_, z.shape[0], z.shape[1], z.dtype, noise)),
                config_.mmd);
  }

  Tape& tape_;
  const Autoencoder& model_;
  const ImageBatch& images_;
  const ObjectiveInput& input_;
  const ObjectiveConfig& config_;
  int64_t batch_;
  RowWeight kl_weight_, recon_weight_;
  ObjectiveTerms terms_;
  Tensor total_;
};

}  // namespace

ObjectiveTerms composed_objective(Tape& tape, const Autoencoder& model, const ImageBatch& images,
                                  const ObjectiveInput& input) {
  return Composer(tape, model, images, input).compose();
}

}  // namespace elbo
