// Objectives beyond the plain ELBO: their gradients are those of what they say they minimise, and where
// one is another in disguise, the two agree.
#include "models/objective.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "engine/ops/basis_op.h"
#include "engine/ops/density_op.h"
#include "tests/support/error_of.h"

namespace elbo {
namespace {

constexpr int64_t kBatch = 6, kPixels = 16, kSamples = 50;

struct Outcome {
  double total = 0, nll = 0, kl = 0;  // means over the batch
  std::vector<double> gradients;
};

// A small network in double on the CPU, with a batch of random pixels.
class Subject {
 public:
  explicit Subject(const ObjectiveConfig& objective, ModelKind kind = ModelKind::mlp_vae)
      : objective_(objective), params_(context_, DType::f64) {
    config_.kind = kind;
    config_.hidden = {7};
    config_.latent_dim = 3;
    config_.activation = Activation::tanh;
    if (objective.sparsity > 0) config_.code_activation = Activation::sigmoid;
    check_objective(objective, config_, false);
    model_ = std::make_unique<Autoencoder>(params_, config_, ImageSize{4, 4, 1});
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
      p = prior_log_density(t, z);
      t.keep(q);
      t.keep(p);
    });
    return (sum(q) - sum(p)) / kBatch;
  }

  double* values() { return static_cast<double*>(params_.values()); }
  int64_t count() const { return params_.span_count(); }
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
    return {x, x};
  }
  ObjectiveInput input() {
    const auto scalar = [](double& value) {
      return external_tensor(&value, Shape{1}, Device::cpu);
    };
    return {noise_,
            {scalar(recon_), scalar(kl_weight_), scalar(capacity_), scalar(one_)},
            &objective_,
            kSamples};
  }

  ObjectiveConfig objective_;
  Context context_;
  ModelConfig config_;
  ParamStore params_;
  std::unique_ptr<Autoencoder> model_;
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

const std::vector<Objective>& objectives() {
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

class Objectives : public testing::TestWithParam<Objective> {};

TEST_P(Objectives, GradientIsThatOfTheTotal) {
  Subject subject(GetParam().config, GetParam().kind);
  subject.set_weights(2.5, 0.4);
  const Outcome outcome = subject.run();
  double largest = 0;
  for (const double gradient : outcome.gradients) largest = std::max(largest, std::abs(gradient));
  ASSERT_GT(largest, 0);
  for (int64_t i = 0; i < subject.count(); i += 5) {
    ASSERT_NEAR(outcome.gradients[static_cast<size_t>(i)], subject.difference(i), 1e-8 * largest)
        << "parameter " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(All, Objectives, testing::ValuesIn(objectives()),
                         [](const auto& info) { return info.param.name; });

const ObjectiveConfig& config_of(const std::string& name) {
  for (const Objective& entry : objectives()) {
    if (entry.name == name) return entry.config;
  }
  throw Error("no such objective: " + name);
}

TEST(ObjectiveIdentities, OneImportanceSampleIsTheElboWithSampledKl) {
  Subject subject(config_of("iwae1"));
  const Outcome outcome = subject.run();
  EXPECT_NEAR(outcome.total, outcome.nll + subject.sampled_kl(), 1e-12 * outcome.total);
}

TEST(ObjectiveIdentities, MoreImportanceSamplesBoundTighter) {
  double one = 0, five = 0;
  Subject single(config_of("iwae1")), several(config_of("iwae5"));
  for (uint64_t seed = 0; seed < 200; ++seed) {
    single.set_seed(seed);
    several.set_seed(seed);
    one += single.run(false).total / 200;
    five += several.run(false).total / 200;
  }
  EXPECT_LT(five, one - 0.05);
}

// log q(z|x) - log p(z) = [log q(z|x) - log q(z)] + [log q(z) - prod] + [prod - log p(z)], whatever the
// estimate of the two in the middle is.
TEST(ObjectiveIdentities, TotalCorrelationWithAllWeightsOneIsTheElboWithSampledKl) {
  ObjectiveConfig config;
  config.bound = Bound::tcvae;
  Subject subject(config);
  const Outcome outcome = subject.run();
  EXPECT_NEAR(outcome.total, outcome.nll + subject.sampled_kl(), 1e-12 * outcome.total);
}

TEST(ObjectiveIdentities, FreeBitsThatAreUsedUpAreTheElbo) {
  ObjectiveConfig config;
  config.free_bits = 1e-9f;
  Subject free(config), plain{ObjectiveConfig{}};
  const Outcome a = free.run(), b = plain.run();
  EXPECT_NEAR(a.total, b.total, 1e-12 * b.total);
  for (size_t i = 0; i < a.gradients.size(); ++i)
    EXPECT_NEAR(a.gradients[i], b.gradients[i], 1e-12);
}

TEST(ObjectiveIdentities, CapacityZeroIsBetaVae) {
  ObjectiveConfig config;
  config.capacity_weight = 4;
  Subject capacity(config), plain{ObjectiveConfig{}};
  plain.set_weights(4, 0);
  const Outcome a = capacity.run(), b = plain.run();
  EXPECT_NEAR(a.total, b.total, 1e-12 * b.total);
  for (size_t i = 0; i < a.gradients.size(); ++i)
    EXPECT_NEAR(a.gradients[i], b.gradients[i], 1e-12);
}

// The decoder's gradients are those of IWAE at every draw, the encoder's only in expectation.
TEST(DoublyReparameterised, HasTheExpectationOfImportanceWeightedGradients) {
  constexpr int kDraws = 3000;
  ObjectiveConfig doubly = config_of("iwae5");
  doubly.bound = Bound::dreg;
  Subject iwae(config_of("iwae5")), dreg(doubly);
  const auto split = static_cast<size_t>(iwae.decoder_offset());
  const auto count = static_cast<size_t>(iwae.count());
  std::vector<double> sum(split), squares(split);
  double iwae_spread = 0, dreg_spread = 0;
  for (uint64_t seed = 0; seed < kDraws; ++seed) {
    iwae.set_seed(seed);
    dreg.set_seed(seed);
    const Outcome a = iwae.run(), b = dreg.run();
    for (size_t i = split; i < count; ++i) {
      ASSERT_NEAR(a.gradients[i], b.gradients[i], 1e-10) << "of the decoder, " << i;
    }
    for (size_t i = 0; i < split; ++i) {
      const double difference = a.gradients[i] - b.gradients[i];
      sum[i] += difference;
      squares[i] += difference * difference;
      iwae_spread += a.gradients[i] * a.gradients[i];
      dreg_spread += b.gradients[i] * b.gradients[i];
    }
  }
  EXPECT_LT(dreg_spread, iwae_spread);  // what it is for
  for (size_t i = 0; i < split; ++i) {
    // A difference that is zero in expectation: within 5 standard errors, 1e-6 per parameter to fail.
    EXPECT_LT(std::abs(sum[i]), 5 * std::sqrt(squares[i]) + 1e-9) << "of the encoder, " << i;
  }
}

// One linear layer has its Jacobian exactly; random directions must estimate the same.
TEST(Contractive, EstimateHasTheExactNormAsItsMean) {
  Context context;
  ParamStore params(context, DType::f64);
  ModelConfig config;
  config.kind = ModelKind::mlp_ae;
  config.hidden = {};
  config.latent_dim = 3;
  config.code_activation = Activation::tanh;
  const Autoencoder model(params, config, ImageSize{2, 3, 1});
  params.finalise();
  params.initialise(2);
  std::vector<double> pixels = {0.1, 0.9, 0.4, 0.3, 0.7, 0.2};
  const Tensor x = external_tensor(pixels.data(), Shape{1, 6}, Device::cpu);
  constexpr int kDraws = 4000;
  double exact = 0, estimate = 0;
  for (int i = 0; i <= kDraws; ++i) {
    Tape tape(context);
    Tensor norm;
    NoiseSource noise;
    noise.purpose = NoisePurpose::tangent;
    noise.seed = static_cast<uint64_t>(i);
    tape.run(1, [&](Tape& t) {
      if (i == kDraws) {
        norm = model.encode_moving(t, x, noise).jacobian_norm;
      } else {
        const Tensor u = prior_sample(t, 1, 6, DType::f64, noise);
        const Tensor moved = model.encoder().run_tangent(t, x, u).tangent;
        norm = sum_rows(t, mul(t, moved, moved));
      }
      t.keep(norm);
    });
    (i == kDraws ? exact : estimate) += *norm.as<double>() / (i == kDraws ? 1 : kDraws);
  }
  EXPECT_GT(exact, 0);
  EXPECT_NEAR(estimate, exact, 0.08 * exact);  // chi-squared: about 2 % standard error
}

TEST(StratifiedWeights, SumToOneWithTheOwnSampleOnTheDiagonal) {
  for (const int64_t batch : {1, 2, 3, 64}) {
    const PairWeights weights = PairWeights::stratified(batch, 1000);
    for (const int64_t row : {int64_t{0}, batch - 1}) {
      double sum = 0;
      for (int64_t k = 0; k < batch; ++k) sum += std::exp(weights.at(row, k, batch));
      EXPECT_NEAR(sum, 1, 1e-6) << batch;
    }
    const int64_t last = batch - 1;
    EXPECT_NEAR(std::exp(weights.at(last, last, batch)), batch > 1 ? 1e-3 : 1, 1e-6);
  }
}

TEST(ObjectiveErrors, NameTheKeyAndWhatToDo) {
  ModelConfig vae, plain;
  plain.kind = ModelKind::mlp_ae;
  const auto said = [](const ObjectiveConfig& c, const ModelConfig& model, bool bf16 = false) {
    return error_of([&] { check_objective(c, model, bf16); });
  };
  EXPECT_EQ(
      said(config_of("tcvae"), plain),
      "2: the objective needs a posterior, and model.kind is a plain autoencoder; use a VAE, or "
      "leave out bound, free_bits, capacity_weight and dip_*");
  EXPECT_EQ(said(config_of("l1"), vae),
            "2: train.objective.l1 is for the code of a plain autoencoder; model.kind is a VAE");
  EXPECT_EQ(
      said(config_of("sparsity"), plain),
      "2: train.objective.sparsity needs a code in (0, 1): set model.code_activation to sigmoid");
  EXPECT_EQ(
      said(config_of("iwae1"), vae, true),
      "2: train.objective.bound and its penalties need --precision fp32 or tf32; bf16 knows the "
      "plain ELBO only");
  ObjectiveConfig both = config_of("free_bits");
  both.capacity_weight = 1;
  EXPECT_EQ(said(both, vae),
            "2: train.objective.free_bits and capacity_weight both replace the KL term; use one");
  EXPECT_EQ(said(config_of("dip_i"), vae), "no error");
}

}  // namespace
}  // namespace elbo
