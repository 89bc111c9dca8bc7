// VampPrior: its density by brute force, gradients by differences, training on every device, the auditor
// and draws.
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "models/audit.h"
#include "models/inference.h"
#include "models/objective.h"
#include "tests/models/file_of.h"
#include "tests/models/likelihood_fixture.h"
#include "tests/models/objective_fixture.h"
#include "tests/support/device.h"
#include "tests/support/error_of.h"

namespace elbo {
namespace {

using likelihood_test::losses_of;
using likelihood_test::toy_config;
using likelihood_test::toy_images;
using likelihood_test::ToySession;
using objective_test::Outcome;
using objective_test::Subject;
using trainer_test::Recorder;

constexpr int64_t kComponents = 6;

ObjectiveConfig objective_of(const char* name) {
  ObjectiveConfig c;
  if (std::string(name) == "iwae") {
    c.bound = Bound::iwae;
    c.samples = 3;
  }
  if (std::string(name) == "factor") c.factor = 3;
  return c;
}

class LearnedPriorBounds : public testing::TestWithParam<const char*> {};

TEST_P(LearnedPriorBounds, GradientIsTheDerivative) {
  Subject subject(objective_of(GetParam()), ModelKind::mlp_vae, Likelihood::bernoulli, Prior::vamp);
  const std::vector<double> gradients = subject.run().gradients;
  double largest = 0;
  for (const double g : gradients) largest = std::max(largest, std::abs(g));
  ASSERT_GT(largest, 0);
  for (int64_t i = 0; i < subject.count(); i += 3) {
    EXPECT_NEAR(gradients[static_cast<size_t>(i)], subject.difference(i), 1e-8 * largest) << i;
  }
}
INSTANTIATE_TEST_SUITE_P(All, LearnedPriorBounds, testing::Values("elbo", "iwae", "factor"),
                         [](const auto& info) { return std::string(info.param); });

// What the prior's parameters get is w log p(z) in both; the encoder's differ, and share the components.
TEST(LearnedPrior, DoublyReparameterisedGradientsOfThePriorAreThoseOfIwae) {
  ObjectiveConfig doubly = objective_of("iwae");
  doubly.bound = Bound::dreg;
  Subject iwae(objective_of("iwae"), ModelKind::mlp_vae, Likelihood::bernoulli, Prior::vamp);
  Subject dreg(doubly, ModelKind::mlp_vae, Likelihood::bernoulli, Prior::vamp);
  const Outcome a = iwae.run(), b = dreg.run();
  EXPECT_NEAR(a.total, b.total, 1e-12);
  double encoders = 0;
  for (int64_t i = 0; i < iwae.count(); ++i) {
    const auto at = static_cast<size_t>(i);
    if (i >= iwae.decoder_offset()) {
      EXPECT_NEAR(a.gradients[at], b.gradients[at], 1e-10) << i;
    } else {
      encoders = std::max(encoders, std::abs(a.gradients[at] - b.gradients[at]));
    }
  }
  EXPECT_GT(encoders, 1e-3);
}

TEST(LearnedPrior, BoundOfOneDrawIsReconstructionAndSampledKl) {
  Subject subject({}, ModelKind::mlp_vae, Likelihood::bernoulli, Prior::vamp);
  const Outcome outcome = subject.run();
  EXPECT_NEAR(outcome.kl, subject.sampled_kl(), 1e-12);
  EXPECT_NEAR(outcome.total, outcome.nll + outcome.kl, 1e-12);
}

RunConfig vamp_config(bool convolutional) {
  RunConfig config = toy_config(Likelihood::bernoulli, convolutional);
  config.model.prior = Prior::vamp;
  config.model.pseudo_inputs = kComponents;
  return config;
}

class LearnedPriorModel : public testing::TestWithParam<bool> {
 protected:
  RunConfig config() const { return vamp_config(GetParam()); }
};

// -0.5 sum_d ((z - mean)^2 / exp(logvar) + logvar + log 2 pi), mixed.
double mixture_density(const Inference::Posterior& components, const float* z, int64_t latent) {
  double density = 0;
  for (int64_t k = 0; k < kComponents; ++k) {
    double log_term = -std::log(static_cast<double>(kComponents));
    for (int64_t d = 0; d < latent; ++d) {
      const double v = components.logvar[static_cast<size_t>(k * latent + d)];
      const double off = z[d] - components.mean[static_cast<size_t>(k * latent + d)];
      log_term -= 0.5 * (off * off / std::exp(v) + v + std::log(2 * std::numbers::pi));
    }
    density += std::exp(log_term);
  }
  return std::log(density);
}

// Of a colour model, whose file holds channels before pixels.
TEST_P(LearnedPriorModel, DensityIsTheMixtureOfTheAuditorToo) {
  const RunConfig run = config();
  Context context;
  ParamStore params(context);
  const Autoencoder model(params, run.model, ImageSize{8, 8, 3});
  params.finalise();
  params.initialise(3);
  Inference inference(context, model);
  const Inference::Posterior components = inference.prior_components();
  const int64_t latent = model.latent_dim();
  ASSERT_EQ(std::ssize(components.mean), kComponents * latent);

  // The components are the posteriors of the pseudo-inputs as images.
  std::vector<float> pseudo;
  for (const ParamStore::Piece& piece : params.pieces()) {
    if (piece.name != "pseudo_inputs") continue;
    const float* values = static_cast<const float*>(params.values()) + piece.offset;
    for (int64_t i = 0; i < piece.count; ++i) pseudo.push_back(1 / (1 + std::exp(-values[i])));
  }
  const Inference::Posterior encoded = inference.encode(pseudo);
  for (size_t i = 0; i < encoded.mean.size(); ++i) {
    EXPECT_NEAR(components.mean[i], encoded.mean[i], 1e-6);
    EXPECT_NEAR(components.logvar[i], encoded.logvar[i], 1e-6);
  }

  std::vector<float> z = inference.prior_latents(5, 1, 2.0f);
  Tape tape(context);
  tape.set_recording(false);
  Tensor density;
  tape.run(1, [&](Tape& t) {
    density = model.log_prior(t, external_tensor(z.data(), Shape{5, latent}, Device::cpu));
    t.keep(density);
  });
  const TensorMap map = file_of(params);
  const AuditNet net(map.view(), "x.safetensors", run.model, {8, 8, 3});
  for (int64_t i = 0; i < 5; ++i) {
    const float* row = z.data() + i * latent;
    const double want = mixture_density(components, row, latent);
    EXPECT_NEAR(density.as<float>()[i], want, 1e-4);
    const std::vector<double> wide(row, row + latent);
    const double constant = 0.5 * static_cast<double>(latent) * std::log(2 * std::numbers::pi);
    EXPECT_NEAR(net.log_prior(wide.data()) - constant, want, 1e-4);
  }
}

TEST_P(LearnedPriorModel, FiftyStepsLowerTheLossAndTheAuditorAgrees) {
  const RunConfig run = config();
  ToySession session(run);
  Recorder recorder;
  session.trainer.run(recorder);
  EXPECT_LT(recorder.reports.back().window.loss, recorder.reports.front().window.loss - 4);
  const LossMeans trained = session.trainer.evaluate(session.test);

  SafetensorsView weights;
  weights.tensors = session.trainer.snapshot().model;
  std::sort(weights.tensors.begin(), weights.tensors.end(),
            [](const NamedBlob& a, const NamedBlob& b) { return a.name < b.name; });
  const AuditNet net(weights, "x.safetensors", run.model, session.test.shape().as_size());
  const AuditData data = AuditData::from_split(toy_images(20), DataVariant::grey, 0);
  AuditOptions options;
  options.nll_samples = 32;
  const AuditReport report = audit(net, {Likelihood::bernoulli, 0, 0}, data, options);
  // One draw per image each, of 20 images: a few standard errors.
  EXPECT_NEAR(*report.kl_nats, trained.kl, 2.0);
  EXPECT_NEAR(report.recon_nats, trained.recon, 3.0);
  EXPECT_LT(*report.nll_nats, *report.neg_elbo_nats);
  EXPECT_TRUE(report.kl_per_latent.empty()) << "there is none per latent";
}

TEST_P(LearnedPriorModel, CudaTakesTheStepsOfTheCpu) {
  if (!why_no_cuda().empty()) GTEST_SKIP() << why_no_cuda();
  RunConfig few = config();
  few.train.max_steps = 4;
  few.output.log_interval = 1;
  const std::vector<double> cpu = losses_of(few, Device::cpu), cuda = losses_of(few, Device::cuda);
  ASSERT_EQ(cpu.size(), 4u);
  for (size_t i = 0; i < cpu.size(); ++i) EXPECT_NEAR(cuda[i], cpu[i], 2e-4 * std::abs(cpu[i]));
}
INSTANTIATE_TEST_SUITE_P(Kinds, LearnedPriorModel, testing::Bool(),
                         [](const auto& info) { return info.param ? "conv" : "mlp"; });

TEST(LearnedPriorDraws, AreThoseOfTheMixture) {
  Context context;
  ParamStore params(context);
  const RunConfig run = vamp_config(false);
  const Autoencoder model(params, run.model, ImageSize{8, 8, 3});
  params.finalise();
  params.initialise(4);
  Inference inference(context, model);
  const Inference::Posterior components = inference.prior_components();
  const auto latent = static_cast<size_t>(model.latent_dim());

  // Without deviations a draw is a component's mean, and each comes up.
  std::vector<int> seen(kComponents, 0);
  const std::vector<float> means = inference.prior_latents(300, 9, 0.0f);
  for (size_t i = 0; i < 300; ++i) {
    size_t found = kComponents;
    for (size_t k = 0; k < kComponents; ++k) {
      const auto* mean = components.mean.data() + k * latent;
      if (std::equal(mean, mean + latent, means.data() + i * latent)) found = k;
    }
    ASSERT_LT(found, size_t{kComponents}) << i;
    ++seen[found];
  }
  for (const int count : seen) EXPECT_NEAR(count, 50, 30);  // 4.6 standard deviations

  // Deviations are the components' own.
  constexpr size_t kDraws = 20000;
  const std::vector<float> draws = inference.prior_latents(kDraws, 9);
  const std::vector<float> centres = inference.prior_latents(kDraws, 9, 0.0f);
  double variance = 0, want = 0;
  for (size_t i = 0; i < kDraws; ++i) {
    const double off = draws[i * latent] - centres[i * latent];
    variance += off * off / kDraws;
  }
  for (size_t k = 0; k < kComponents; ++k) {
    want += std::exp(components.logvar[k * latent]) / kComponents;
  }
  EXPECT_NEAR(variance, want, 0.05 * want);
  EXPECT_EQ(inference.prior_latents(1, 9, 1.0f, 7),
            std::vector<float>(draws.begin() + 7 * static_cast<int64_t>(latent),
                               draws.begin() + 8 * static_cast<int64_t>(latent)));
}

TEST(LearnedPriorErrors, NameTheKeyAndWhatToDo) {
  const auto built = [](const ModelConfig& config) {
    return error_of([&] {
      Context context;
      ParamStore params(context);
      const Autoencoder model(params, config, ImageSize{8, 8, 3});
    });
  };
  ModelConfig config = vamp_config(false).model;
  config.kind = ModelKind::mlp_ae;
  EXPECT_EQ(built(config), "2: model.prior vamp is for a VAE; model.kind is a plain autoencoder");
  config = vamp_config(false).model;
  config.condition = Condition::label;
  config.classes = 3;
  EXPECT_EQ(built(config),
            "2: model.prior vamp does not go with model.condition; leave one of them out");
  config = vamp_config(true).model;
  config.encoder.front() = "conv 8 k4 s2 bn relu";
  EXPECT_EQ(built(config),
            "2: model.prior vamp does not go with batch normalisation (layer \"conv 8 k4 s2 bn "
            "relu\"): pseudo-inputs and images would share statistics; leave it out");
  TrainConfig train;
  train.objective.mmd = 1;
  EXPECT_EQ(error_of([&] { check_objective(train, vamp_config(false).model, false); }),
            "2: train.objective.mmd is for the prior N(0, I); set model.prior to standard");
}

}  // namespace
}  // namespace elbo
