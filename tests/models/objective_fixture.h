// What tests of objectives share: the objectives there are, and a small network in double whose total can be
// differentiated by differences.
#pragma once

#include <cmath>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "engine/ops/density_op.h"
#include "models/objective.h"

namespace elbo::objective_test {

inline constexpr int64_t kBatch = 6, kPixels = 16, kSamples = 50;

struct Outcome {
  double total = 0, nll = 0, kl = 0;  // means over the batch
  std::vector<double> gradients;
};

// A small network in double on the CPU, with a batch of random pixels.
class Subject {
 public:
  explicit Subject(const ObjectiveConfig& objective, ModelKind kind = ModelKind::mlp_vae,
                   Likelihood likelihood = Likelihood::bernoulli, Prior prior = Prior::standard)
      : objective_(objective), params_(context_, DType::f64) {
    config_.kind = kind;
    config_.likelihood = likelihood;
    config_.hidden = {7};
    config_.latent_dim = 3;
    config_.activation = Activation::tanh;
    config_.prior = prior;
    config_.pseudo_inputs = 4;
    if (objective.sparsity > 0) config_.code_activation = Activation::sigmoid;
    TrainConfig train;
    train.objective = objective;
    check_objective(train, config_, false);
    model_ = std::make_unique<Autoencoder>(params_, config_, ImageSize{4, 4, 1});
    model_span_ = params_.span_count();
    if (objective.factor > 0) {
      discriminator_ = std::make_unique<Discriminator>(params_, config_.latent_dim,
                                                       std::vector<int64_t>{5}, config_.init);
    }
    params_.finalise();
    params_.initialise(5);
    std::mt19937_64 random(1);
    std::uniform_real_distribution<double> pixel(0, 1);
    for (double& value : pixels_) value = pixel(random);
    // Posteriors that differ from each other and from the prior.
    for (int64_t i = 0; i < params_.span_count(); ++i) values()[i] *= 2.0;
  }

  Outcome run(bool backward = true) {
    Tape tape(context_);
    ObjectiveTerms terms;
    tape.run(1, [&](Tape& t) {
      terms = training_objective(t, *model_, batch(), input());
      t.keep(terms.nll);
      t.keep(terms.kl);
      t.keep(terms.total);
      if (backward) t.backward(params_);
    });
    Outcome outcome;
    outcome.nll = sum(terms.nll) / kBatch;
    outcome.kl = terms.has_kl ? sum(terms.kl) / kBatch : 0;
    outcome.total = terms.total.shape.rank() > 0 ? *terms.total.as<double>()
                                                 : recon_ * outcome.nll + kl_weight_ * outcome.kl;
    const auto* gradients = static_cast<const double*>(params_.gradients());
    if (backward) outcome.gradients.assign(gradients, gradients + params_.span_count());
    return outcome;
  }

  // d total / d parameter i by fourth-order differences.
  double difference(int64_t i) {
    constexpr double kStep = 1e-3;
    const double at = values()[i];
    const auto total = [&](double offset) {
      values()[i] = at + offset * kStep;
      return run(false).total;
    };
    const double slope = (8 * (total(1) - total(-1)) - (total(2) - total(-2))) / (12 * kStep);
    values()[i] = at;
    return slope;
  }

  // Mean over the batch of log q(z|x) - log p(z) at the noise that run() draws.
  double sampled_kl() {
    Tape tape(context_);
    Tensor q, p;
    tape.run(1, [&](Tape& t) {
      const Tensor stats = model_->encode(t, batch().input);
      const Tensor z = reparam_kl(t, stats, noise_, {}).z;
      q = log_density(t, z, stats);
      p = model_->log_prior(t, z);
      t.keep(q);
      t.keep(p);
    });
    return (sum(q) - sum(p)) / kBatch;
  }

  double* values() { return static_cast<double*>(params_.values()); }
  // Of the model. A discriminator's parameters, which follow, minimise something else.
  int64_t count() const { return model_span_; }
  void set_weights(double kl_weight, double capacity) {
    kl_weight_ = kl_weight;
    capacity_ = capacity;
  }
  void set_seed(uint64_t seed) { noise_.seed = seed; }
  // Where the decoder's parameters begin in the span; the encoder's and the heads' come before.
  int64_t decoder_offset() const {
    for (const ParamStore::Piece& piece : params_.pieces()) {
      if (piece.name == "fc3.weight" || piece.name == "decoder.0.weight") return piece.offset;
    }
    return -1;
  }

 private:
  static double sum(const Tensor& tensor) {
    double total = 0;
    for (int64_t i = 0; i < tensor.size(); ++i) total += tensor.as<double>()[i];
    return total;
  }
  ImageBatch batch() {
    const Tensor x = external_tensor(pixels_.data(), Shape{kBatch, kPixels}, Device::cpu);
    return {x, x, {}};
  }
  ObjectiveInput input() {
    const auto scalar = [](double& value) {
      return external_tensor(&value, Shape{1}, Device::cpu);
    };
    ObjectiveInput input{noise_,
                         {scalar(recon_), scalar(kl_weight_), scalar(capacity_), scalar(one_)},
                         &objective_,
                         kSamples};
    input.discriminator = discriminator_.get();
    return input;
  }

  ObjectiveConfig objective_;
  Context context_;
  ModelConfig config_;
  ParamStore params_;
  std::unique_ptr<Autoencoder> model_;
  std::unique_ptr<Discriminator> discriminator_;
  int64_t model_span_ = 0;
  NoiseSource noise_;
  std::vector<double> pixels_ = std::vector<double>(kBatch * kPixels);
  double recon_ = 1, kl_weight_ = 1, capacity_ = 0, one_ = 1;
};

struct Objective {
  std::string name;
  ObjectiveConfig config;
  ModelKind kind = ModelKind::mlp_vae;
};

template <class Change>
Objective objective(const std::string& name, const Change& change,
                    ModelKind kind = ModelKind::mlp_vae) {
  Objective entry{name, {}, kind};
  change(entry.config);
  return entry;
}

inline const std::vector<Objective>& objectives() {
  static const std::vector<Objective> all = {
      objective("elbo", [](auto&) {}),
      objective("free_bits", [](auto& c) { c.free_bits = 0.35f; }),
      objective("capacity", [](auto& c) { c.capacity_weight = 7; }),
      objective("iwae1", [](auto& c) { c.bound = Bound::iwae; }),
      objective("iwae5",
                [](auto& c) {
                  c.bound = Bound::iwae;
                  c.samples = 5;
                }),
      objective("tcvae",
                [](auto& c) {
                  c.bound = Bound::tcvae;
                  c.mutual_information = 0.8f;
                  c.dimension_kl = 1.3f;
                }),
      objective("dip_i",
                [](auto& c) {
                  c.dip_off_diagonal = 3;
                  c.dip_diagonal = 2;
                }),
      objective("dip_ii",
                [](auto& c) {
                  c.dip_off_diagonal = 3;
                  c.dip_diagonal = 2;
                  c.dip_covariance = Spread::samples;
                }),
      objective("mmd", [](auto& c) { c.mmd = 10; }),
      objective("factor",
                [](auto& c) {
                  c.factor = 3;
                  c.discriminator = {12};
                }),
      objective(
          "plain", [](auto&) {}, ModelKind::mlp_ae),
      objective(
          "l1", [](auto& c) { c.l1 = 0.5f; }, ModelKind::mlp_ae),
      objective(
          "sparsity", [](auto& c) { c.sparsity = 2; }, ModelKind::mlp_ae),
      objective(
          "contractive", [](auto& c) { c.contractive = 0.3f; }, ModelKind::mlp_ae),
      objective(
          "plain_mmd", [](auto& c) { c.mmd = 10; }, ModelKind::mlp_ae),
  };
  return all;
}

}  // namespace elbo::objective_test
