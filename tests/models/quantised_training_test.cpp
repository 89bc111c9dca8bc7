// Training of models whose latents are codes of a codebook.
#include <gtest/gtest.h>

#include <cmath>

#include "models/inference.h"
#include "models/objective.h"
#include "tests/models/trainer_fixture.h"
#include "tests/support/device.h"
#include "tests/support/error_of.h"

namespace elbo {
namespace {

using namespace trainer_test;

RunConfig vector_config() {
  RunConfig config = tiny_config();
  config.model.kind = ModelKind::mlp_ae;
  config.model.latent_dim = 6;
  config.model.codebook = 12;
  config.model.code_size = 2;
  return config;
}

RunConfig picture_config() {
  RunConfig config = tiny_config();
  config.model.kind = ModelKind::conv_ae;
  config.model.encoder = {"conv 6 k4 s2 relu", "conv 3 k4 s2"};
  config.model.decoder = {"convt 6 k4 s2 relu", "convt image k4 s2"};
  config.model.latent_dim = 1;
  config.model.latent_channels = 3;
  config.model.codebook = 16;
  return config;
}

class QuantisedTraining : public testing::TestWithParam<Device> {
 protected:
  void SetUp() override {
    if (GetParam() == Device::cuda && !why_no_cuda().empty()) GTEST_SKIP() << why_no_cuda();
  }
};

TEST(QuantisedModels, LossFallsAndCodesAreUsed) {
  for (RunConfig config : {vector_config(), picture_config()}) {
    config.train.epochs = 30;
    Session session(config);
    Recorder record;
    session.trainer.run(record);
    const EpochReport &first = record.epochs.front(), &last = record.epochs.back();
    EXPECT_LT(last.train.loss, 0.8 * first.train.loss);
    EXPECT_LT(last.test.recon, first.test.recon);
    EXPECT_GT(last.train.perplexity, 2.0);
    EXPECT_LE(last.train.perplexity, static_cast<double>(config.model.codebook));
    EXPECT_EQ(last.train.kl, 0.0);
    EXPECT_GT(last.train.loss, last.train.recon) << "the commitment is missing";
  }
}

TEST(QuantisedModels, CudaTakesTheStepsOfTheCpu) {
  if (!why_no_cuda().empty()) GTEST_SKIP() << why_no_cuda();
  for (RunConfig config : {vector_config(), picture_config()}) {
    config.train.max_steps = 4;
    config.output.log_interval = 1;
    Session cpu(config), cuda(config, Device::cuda);
    Recorder want, got;
    cpu.trainer.run(want);
    cuda.trainer.run(got);
    for (size_t i = 0; i < 4; ++i) {
      const LossMeans &a = want.reports[i].window, &b = got.reports[i].window;
      EXPECT_NEAR(b.loss, a.loss, 1e-4 * a.loss) << i;
      EXPECT_NEAR(b.perplexity, a.perplexity, 1e-4 * a.perplexity) << i;
    }
    EXPECT_NEAR(got.epochs.back().test.recon, want.epochs.back().test.recon, 1e-2);
  }
}

TEST(QuantisedModels, GoWithEveryLikelihood) {
  for (const Likelihood likelihood : kLikelihoods) {
    RunConfig config = vector_config();
    config.model.likelihood = likelihood;
    config.train.epochs = 8;
    Session session(config);
    Recorder record;
    session.trainer.run(record);
    EXPECT_LT(record.epochs.back().train.loss, record.epochs.front().train.loss)
        << likelihood_name(likelihood);
  }
}

// The label is told beside the codes.
TEST(QuantisedModels, GoWithLabels) {
  RunConfig config = picture_config();
  config.model.encoder = {"conv 6 k4 s2 relu"};
  config.model.decoder = {"linear flat relu", "convt image k4 s2"};
  config.model.latent_channels = 0;
  config.model.latent_dim = 6;
  config.model.code_size = 3;
  config.model.condition = Condition::label;
  config.model.classes = 3;
  config.train.epochs = 8;
  Session session(config);
  Recorder record;
  session.trainer.run(record);
  EXPECT_LT(record.epochs.back().train.loss, record.epochs.front().train.loss);
}

TEST_P(QuantisedTraining, GoesOnBitForBit) {
  for (RunConfig config : {vector_config(), picture_config()}) {
    config.train.epochs = 2;
    Session whole(config, GetParam()), half(config, GetParam()), resumed(config, GetParam());
    Recorder all, before, after;
    whole.trainer.run(all);
    before.trainer = &half.trainer;
    before.stop_after = 7;
    half.trainer.run(before);
    const TempDir dir;
    resumed.trainer.restore(loaded(half.trainer, dir));
    resumed.trainer.run(after);
    EXPECT_EQ(bytes_of(resumed.trainer.snapshot()), bytes_of(whole.trainer.snapshot()));
    EXPECT_EQ(after.epochs.back().train.perplexity, all.epochs.back().train.perplexity);
  }
}

// Graphs replay the noise of restarts afresh for each step.
TEST_P(QuantisedTraining, StepsInGraphsAreTheSame) {
  RunConfig config = picture_config();
  config.model.codebook_restart = 0.5f;
  config.train.epochs = 2;
  config.graph_steps = 0;
  Session plain(config, GetParam());
  config.graph_steps = 2;
  Session graphs(config, GetParam());
  Recorder record;
  plain.trainer.run(record);
  graphs.trainer.run(record);
  EXPECT_EQ(bytes_of(graphs.trainer.snapshot()), bytes_of(plain.trainer.snapshot()));
}

// What is decoded are codes, whatever one asks for, and encoding gives such.
TEST_P(QuantisedTraining, ToolsSeeCodesOnly) {
  for (RunConfig config : {vector_config(), picture_config()}) {
    config.train.epochs = 1;
    Session session(config, GetParam());
    Recorder record;
    session.trainer.run(record);
    const Autoencoder& model = session.trainer.model();
    Inference inference(session.context, model);
    const auto images = inference.images(session.test, 0, 20, Binarise::none, 1);
    const std::vector<float> latents = inference.encode(images).mean;
    ASSERT_EQ(std::ssize(latents), 20 * model.latent_dim());
    const Codebook& book = model.codebook();
    const Tensor value = session.trainer.params().buffers().value(book.codes);
    std::vector<float> codes(static_cast<size_t>(value.size()));
    session.context.download(codes.data(), value.data, value.bytes());
    for (int64_t row = 0; row < std::ssize(latents) / book.dim; ++row) {
      bool found = false;
      for (int64_t k = 0; k < book.size && !found; ++k) {
        found = true;
        for (int64_t d = 0; d < book.dim; ++d) {
          found = found && latents[row * book.dim + d] == codes[d * book.size + k];
        }
      }
      ASSERT_TRUE(found) << row;
    }
    // A little off a code is the same picture.
    std::vector<float> off = latents;
    for (float& value_off : off) value_off *= 1.0f + 1e-5f;
    EXPECT_EQ(inference.decode(off), inference.decode(latents));
  }
}

TEST(QuantisedModels, SayWhatTheyCannotDo) {
  const auto message = [](const auto& change, RunConfig config = vector_config()) {
    change(config);
    return error_of([&] { Session session(config); });
  };
  EXPECT_EQ(message([](RunConfig& c) { c.model.kind = ModelKind::mlp_vae; }),
            "2: model.codebook is 12 and model.kind is a VAE; codes are for mlp-ae and conv-ae");
  EXPECT_EQ(message([](RunConfig& c) { c.model.code_size = 4; }),
            "2: model.code_size is 4 and there are 6 latents; expected a divisor of their number");
  EXPECT_EQ(message([](RunConfig& c) { c.model.code_size = 2; }, picture_config()),
            "2: model.code_size is 2, and a latent that is a picture has a code for each of its "
            "pixels; expected 0 or its channels, 3");
  EXPECT_EQ(message([](RunConfig& c) { c.train.objective.mmd = 1; }),
            "2: train.objective.mmd does not go with model.codebook, which has a commitment "
            "instead");
}

INSTANTIATE_TEST_SUITE_P(Devices, QuantisedTraining, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
