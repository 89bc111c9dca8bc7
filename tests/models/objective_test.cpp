// Objectives beyond the plain ELBO: their gradients are those of what they say they minimise, and where
// one is another in disguise, the two agree.
#include "models/objective.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "engine/ops/basis_op.h"
#include "engine/ops/density_op.h"
#include "tests/models/objective_fixture.h"
#include "tests/models/trainer_fixture.h"
#include "tests/support/error_of.h"

namespace elbo {
namespace {

using namespace objective_test;

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

TEST(NormalisedBeta, IsTheWeightThatMeansWouldHave) {
  TrainConfig train;
  EXPECT_EQ(final_kl_weight(train, 784, 20), 1.0f);
  train.beta_norm = 0.5f;
  // nll / 784 + 0.5 kl / 20, times 784
  EXPECT_FLOAT_EQ(final_kl_weight(train, 784, 20), 19.6f);
  trainer_test::Recorder recorder;
  RunConfig config = trainer_test::tiny_config();
  config.train.beta_norm = 0.5f;
  trainer_test::Session session(config);
  session.trainer.run(recorder);
  const Autoencoder& model = session.trainer.model();
  ASSERT_FALSE(recorder.reports.empty());
  EXPECT_FLOAT_EQ(recorder.reports.back().kl_weight, 0.5f * static_cast<float>(model.image_size()) /
                                                         static_cast<float>(model.latent_dim()));
  train.beta = 2;
  EXPECT_EQ(error_of([&] { check_objective(train, {}, false); }),
            "2: train.beta_norm and train.beta both weigh the KL; use one");
}

TEST(ObjectiveErrors, NameTheKeyAndWhatToDo) {
  ModelConfig vae, plain;
  plain.kind = ModelKind::mlp_ae;
  const auto said = [](const ObjectiveConfig& c, const ModelConfig& model, bool bf16 = false) {
    TrainConfig train;
    train.objective = c;
    return error_of([&] { check_objective(train, model, bf16); });
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
  ObjectiveConfig matched = config_of("iwae5");
  matched.mmd = 1;
  EXPECT_EQ(
      said(matched, vae),
      "2: train.objective.mmd compares independent latents, and iwae and dreg draw several per "
      "image");
  TrainConfig beta;
  beta.objective = config_of("iwae5");
  beta.beta = 4;
  EXPECT_EQ(error_of([&] { check_objective(beta, vae, false); }),
            "2: train.objective.bound iwae and dreg have no terms to weigh: leave --beta, "
            "--recon-weight and train.kl_schedule at 1, free_bits and capacity_weight at 0");
  ModelConfig smooth = plain;
  smooth.activation = Activation::silu;
  EXPECT_EQ(said(config_of("contractive"), smooth),
            "2: train.objective.contractive: the slope of silu does not follow from its value; use "
            "tanh, sigmoid, softplus, relu, leaky_relu or identity");
  ModelConfig normalised;
  normalised.kind = ModelKind::conv_ae;
  normalised.encoder = {"conv 8 k4 s2 bn relu"};
  EXPECT_EQ(
      said(config_of("contractive"), normalised),
      "2: train.objective.contractive: layer \"conv 8 k4 s2 bn relu\"; the Jacobian is known of "
      "linear layers and convolutions without normalisation");
  EXPECT_EQ(said(config_of("dip_i"), vae), "no error");
}

}  // namespace
}  // namespace elbo
