// FactorVAE: gradients of both players by differences, what the discriminator finds, resuming, devices.
#include "models/discriminator.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "engine/ops/basis_op.h"
#include "models/objective.h"
#include "tests/models/likelihood_fixture.h"
#include "tests/support/device.h"
#include "tests/support/error_of.h"
#include "tests/support/temp_dir.h"
#include "tests/support/values.h"

namespace elbo {
namespace {

using likelihood_test::losses_of;
using likelihood_test::toy_config;
using likelihood_test::ToySession;
using trainer_test::bytes_of;
using trainer_test::Recorder;

constexpr int64_t kBatch = 8, kDim = 3;
constexpr float kFactor = 4.0f;

// Latents as a parameter, so that gradients of both players land in one store.
struct Game {
  Context context;
  ParamStore params{context, DType::f64};
  ParamStore::Id z;
  std::unique_ptr<Discriminator> discriminator;
  double one = 1;

  Game() {
    z = params.add("z", {kBatch, kDim}, {InitKind::normal, 1.0f});
    discriminator = std::make_unique<Discriminator>(params, kDim, std::vector<int64_t>{6, 5},
                                                    InitKind::glorot_uniform);
    params.finalise();
    params.initialise(3);
  }

  struct Values {
    double loss, total_correlation;
  };
  Values run(bool backward) {
    Tape tape(context);
    Discriminator::Terms terms;
    tape.run(1, [&](Tape& t) {
      const Tensor latents = t.leaf(params.param(z).value);
      NoiseSource noise;
      noise.seed = 2;
      terms = discriminator->terms(t, latents, kFactor, noise,
                                   external_tensor(&one, Shape{1}, Device::cpu));
      t.keep(terms.loss);
      t.keep(terms.total_correlation);
      if (backward) t.backward(params);
      if (backward) t.keep(*t.grad(latents));
      if (backward) dz = *t.grad(latents);
      if (backward && dz.data) {
        gradient.assign(dz.as<double>(), dz.as<double>() + kBatch * kDim);
      }
    });
    return {*terms.loss.as<double>(), *terms.total_correlation.as<double>()};
  }

  double* values() { return static_cast<double*>(params.values()); }
  template <class Pick>
  double difference(int64_t i, Pick pick) {
    constexpr double kStep = 1e-5;
    const double at = values()[i];
    values()[i] = at + kStep;
    const double up = pick(run(false));
    values()[i] = at - kStep;
    const double down = pick(run(false));
    values()[i] = at;
    return (up - down) / (2 * kStep);
  }

  Tensor dz;
  std::vector<double> gradient;
};

// Latents take the gradient of the total correlation alone, the discriminator that of its loss alone.
TEST(Discriminator, EachPlayerGetsItsOwnGradient) {
  Game game;
  game.run(true);
  const auto* gradients = static_cast<const double*>(game.params.gradients());
  double largest = 0;
  for (int64_t i = 0; i < kBatch * kDim; ++i) {
    const double want =
        game.difference(i, [](const Game::Values& v) { return v.total_correlation; });
    EXPECT_NEAR(game.gradient[static_cast<size_t>(i)], want, 1e-6) << i;
    largest = std::max(largest, std::abs(want));
  }
  EXPECT_GT(largest, 1e-3);
  for (const ParamStore::Piece& piece : game.params.pieces()) {
    if (piece.name == "z") continue;
    for (int64_t i = piece.offset; i < piece.offset + piece.count; ++i) {
      const double want = game.difference(i, [](const Game::Values& v) { return v.loss; });
      EXPECT_NEAR(gradients[i], want, 1e-7) << piece.name << " " << i - piece.offset;
    }
  }
}

// Two standard normal latents of correlation 0.9: their total correlation is -log(1 - 0.81) / 2.
TEST(Discriminator, FindsTheTotalCorrelationOfGaussians) {
  constexpr int64_t kRows = 512;
  constexpr int kSteps = 600;
  Context context;
  ParamStore params(context, DType::f64);
  const Discriminator discriminator(params, 2, {16}, InitKind::glorot_uniform);
  params.finalise();
  params.initialise(1);
  std::mt19937_64 random(7);
  std::normal_distribution<double> normal;
  std::vector<double> z(2 * kRows), speed(static_cast<size_t>(params.span_count()), 0.0);
  double one = 1, found = 0;
  for (int step = 0; step < kSteps; ++step) {
    for (size_t i = 0; i < z.size(); i += 2) {
      z[i] = normal(random);
      z[i + 1] = 0.9 * z[i] + std::sqrt(1 - 0.81) * normal(random);
    }
    Tape tape(context);
    NoiseSource noise;
    noise.seed = static_cast<uint64_t>(step);
    Discriminator::Terms terms;
    tape.run(1, [&](Tape& t) {
      terms = discriminator.terms(t, external_tensor(z.data(), Shape{kRows, 2}, Device::cpu), 1.0f,
                                  noise, external_tensor(&one, Shape{1}, Device::cpu));
      t.keep(terms.total_correlation);
      t.backward(params);
    });
    if (step >= kSteps - 100) found += *terms.total_correlation.as<double>() / 100;
    auto* values = static_cast<double*>(params.values());
    const auto* gradients = static_cast<const double*>(params.gradients());
    for (size_t i = 0; i < speed.size(); ++i) {
      speed[i] = 0.9 * speed[i] + gradients[i];
      values[i] -= 0.2 * speed[i];
    }
  }
  EXPECT_NEAR(found, -0.5 * std::log(1 - 0.81), 0.15);
}

RunConfig factor_config(float factor) {
  RunConfig config = toy_config(Likelihood::bernoulli, false);
  config.model.latent_dim = 3;
  config.train.objective.factor = factor;
  config.train.objective.discriminator = {24, 24};
  return config;
}

class FactorTraining : public testing::TestWithParam<DeviceParam> {
 protected:
  Device device() const { return GetParam(); }
};

TEST_P(FactorTraining, FiftyStepsLowerTheLoss) {
  ToySession session(factor_config(2), device());
  Recorder recorder;
  session.trainer.run(recorder);
  ASSERT_EQ(recorder.reports.size(), 10u);
  EXPECT_LT(recorder.reports.back().window.loss, recorder.reports.front().window.loss - 4);
}

// One that cannot tell latents from shuffled ones, as at the start, has a loss of log 2.
TEST_P(FactorTraining, ReportsTheLossOfTheDiscriminatorToo) {
  RunConfig config = factor_config(2);
  config.train.max_steps = 20;
  ToySession session(config, device());
  Recorder recorder;
  session.trainer.run(recorder);
  ASSERT_EQ(recorder.reports.size(), 4u);
  EXPECT_NEAR(recorder.reports.front().window.discriminator, std::log(2), 0.02);
  for (const StepReport& report : recorder.reports) {
    EXPECT_GT(report.window.discriminator, 0.3);
    EXPECT_LT(report.window.discriminator, 0.75);
  }
  EXPECT_NE(recorder.reports.back().window.discriminator,
            recorder.reports.front().window.discriminator);
  ToySession plain(factor_config(0), device());
  Recorder none;
  plain.trainer.run(none);
  EXPECT_EQ(none.reports.front().window.discriminator, 0);
}

TEST_P(FactorTraining, TakesTheStepsOfTheCpu) {
  if (device() == Device::cpu) GTEST_SKIP() << "the CPU is what others are compared with";
  RunConfig few = factor_config(2);
  few.train.max_steps = 4;
  few.output.log_interval = 1;
  const std::vector<double> cpu = losses_of(few, Device::cpu), here = losses_of(few, device());
  ASSERT_EQ(cpu.size(), 4u);
  for (size_t i = 0; i < cpu.size(); ++i) EXPECT_NEAR(here[i], cpu[i], 2e-4 * std::abs(cpu[i]));
}

TEST_P(FactorTraining, StopsAndResumesBitForBit) {
  RunConfig config = factor_config(2);
  config.train.max_steps = 12;
  ToySession whole(config, device());
  Recorder record;
  whole.trainer.run(record);
  const TempDir dir;
  CheckpointWriter writer(real_fs(), dir.path() + "/checkpoints");
  ToySession before(config, device());
  Recorder record_before;
  record_before.trainer = &before.trainer;
  record_before.stop_after = 7;
  EXPECT_FALSE(before.trainer.run(record_before));
  const Trainer::Snapshot& saved = before.trainer.snapshot();
  for (const NamedBlob& blob : saved.model) {
    EXPECT_FALSE(blob.name.starts_with("discriminator")) << "is no part of the model";
  }
  writer.save({saved.model, saved.optimizer, saved.state, ""}, false);
  ToySession after(config, device());
  after.trainer.restore(load_latest_checkpoint(real_fs(), dir.path() + "/checkpoints"));
  Recorder record_after;
  EXPECT_TRUE(after.trainer.run(record_after));
  // Of the epoch in which it was stopped, too.
  EXPECT_EQ(record_after.epochs.front().train.discriminator,
            record.epochs.at(1).train.discriminator);
  EXPECT_EQ(bytes_of(after.trainer.snapshot()), bytes_of(whole.trainer.snapshot()));
}
INSTANTIATE_TEST_SUITE_P(Devices, FactorTraining, testing::ValuesIn(available_devices()),
                         device_name);

TEST(FactorErrors, NameTheKeyAndWhatToDo) {
  const auto said = [](ModelKind kind, Bound bound) {
    ModelConfig model;
    model.kind = kind;
    TrainConfig train;
    train.objective.factor = 1;
    train.objective.bound = bound;
    train.objective.samples = 2;
    return error_of([&] { check_objective(train, model, false); });
  };
  EXPECT_EQ(said(ModelKind::mlp_vae, Bound::elbo), "no error");
  EXPECT_EQ(said(ModelKind::mlp_ae, Bound::elbo),
            "2: train.objective.factor needs a posterior, and model.kind is a plain autoencoder; "
            "use a VAE");
  EXPECT_EQ(said(ModelKind::mlp_vae, Bound::iwae),
            "2: train.objective.factor shuffles independent latents, and iwae and dreg draw "
            "several per image");
}

}  // namespace
}  // namespace elbo
