// The auditor's convolutional networks: by hand, and beside the engine's.
#include <gtest/gtest.h>

#include <algorithm>

#include "models/audit.h"
#include "models/autoencoder.h"
#include "models/inference.h"
#include "tests/kernels/linear_oracle.h"
#include "tests/models/file_of.h"
#include "tests/models/trainer_fixture.h"
#include "tests/support/error_of.h"

namespace elbo {
namespace {

ModelConfig conv_config() {
  ModelConfig config;
  config.kind = ModelKind::conv_vae;
  config.latent_dim = 4;
  config.encoder = {"conv 5 k3 s2 leaky_relu", "conv 6 k4x2 s2 d1x2 silu", "linear 9 tanh"};
  config.decoder = {"linear 7 relu", "linear flat gelu", "convt 5 k3 s2 leaky_relu",
                    "convt image k4x3 s2"};
  return config;
}

// The compound layers of a KL autoencoder, and a latent that is a picture of 6 x 5 pixels.
ModelConfig picture_config() {
  ModelConfig config;
  config.kind = ModelKind::conv_vae;
  config.latent_channels = 2;
  config.encoder = {"conv 4 k3 s2",   "res 6 gn2 silu", "attention gn3",
                    "res 6 gn3 tanh", "norm gn2 silu",  "conv 4 k3"};
  config.decoder = {"conv 6 k3",           "attention gn2", "res 4 gn2 gelu",
                    "upsample 2 bilinear", "norm gn4 relu", "conv image k2 p0"};
  return config;
}

class AuditConvBesideTheEngine : public testing::TestWithParam<bool> {};

// Odd, not square, in colour: every order of pixels and channels is another one. Every parameter is drawn,
// as those of normalisations begin as ones and zeros, which hide a mistake.
TEST_P(AuditConvBesideTheEngine, Agrees) {
  const ImageSize image{11, 9, 3};
  const ModelConfig config = GetParam() ? picture_config() : conv_config();
  Context context({Device::cpu, 0, ""});
  ParamStore params(context);
  const Autoencoder model(params, config, image);
  params.finalise();
  const std::vector<float> drawn = oracle::Numbers(5)(params.span_count());
  auto* values = static_cast<float*>(params.values());
  for (const ParamStore::Piece& piece : params.pieces()) {
    // Little enters the first normalisation, so that what it adds to a variance counts.
    const float size = piece.name.starts_with("encoder.0.") && GetParam() ? 0.003f : 0.3f;
    for (int64_t i = piece.offset; i < piece.offset + piece.count; ++i) values[i] = size * drawn[i];
  }
  const TensorMap file = file_of(params);
  const AuditNet net(file.view(), "x.safetensors", config, image);
  Inference inference(context, model);

  const std::vector<float> pixels = oracle::Numbers(1)(2 * image.size());
  const auto engine = inference.encode(pixels);
  const AuditPosterior audited = net.encode({pixels.begin(), pixels.end()});
  ASSERT_EQ(engine.mean.size(), audited.mean.size());
  for (size_t i = 0; i < engine.mean.size(); ++i) {
    EXPECT_NEAR(engine.mean[i], audited.mean[i], 1e-5);
    EXPECT_NEAR(engine.logvar[i], audited.logvar[i], 1e-5);
  }

  const std::vector<float> latents = oracle::Numbers(2)(2 * model.latent_dim());
  const std::vector<float> pictures = inference.decode(latents);
  const AuditRows logits = net.decode({latents.begin(), latents.end()});
  ASSERT_EQ(pictures.size(), logits.size());
  for (size_t i = 0; i < pictures.size(); ++i) {
    EXPECT_NEAR(pictures[i], 1 / (1 + std::exp(-logits[i])), 1e-5);
  }
}
INSTANTIATE_TEST_SUITE_P(Latents, AuditConvBesideTheEngine, testing::Bool(),
                         [](const auto& info) { return info.param ? "picture" : "vector"; });

// Batch normalisation by running statistics inside of blocks: the KL has no noise in it.
TEST(AuditConv, AgreesWithATrainedNetworkOfBothNormalisations) {
  RunConfig run = trainer_test::tiny_config();
  run.model.kind = ModelKind::conv_vae;
  run.model.latent_channels = 1;
  run.model.encoder = {"conv 4 k3 s2", "res 6 bn silu", "attention bn", "norm bn relu",
                       "conv 2 k3"};
  run.model.decoder = {"res 6 bn silu", "upsample 2", "norm gn2 relu", "conv image k3"};
  trainer_test::Session session(run);
  trainer_test::Recorder recorder;
  session.trainer.run(recorder);
  const LossMeans trained = session.trainer.evaluate(session.test);

  SafetensorsView weights;
  weights.tensors = session.trainer.snapshot().model;
  std::sort(weights.tensors.begin(), weights.tensors.end(),
            [](const NamedBlob& a, const NamedBlob& b) { return a.name < b.name; });
  const AuditNet net(weights, "x.safetensors", run.model, {12, 12, 1});
  const AuditReport report =
      audit(net, {Likelihood::bernoulli, 0, 0}, AuditData::sprites(12, 70, 20), {});
  EXPECT_NEAR(*report.kl_nats, trained.kl, 1e-4 * trained.kl);
  EXPECT_NEAR(report.recon_nats, trained.recon, 0.02 * trained.recon);
  EXPECT_EQ(report.latent_dim, 36);
}

// 1 x 2 images, one channel; a 1 x 2 window there, a transposed one back.
TEST(AuditConv, ForwardIsWhatPencilAndPaperGive) {
  ModelConfig config;
  config.kind = ModelKind::conv_ae;
  config.latent_dim = 1;
  config.encoder = {"conv 1 k1x2 p0"};
  config.decoder = {"linear flat", "convt image k1x2 p0"};
  TensorMap map;
  map.add("encoder.0.weight", {1, 1, 1, 2}, {2, 3})
      .add("encoder.0.bias", {1}, {1})
      .layer("encoder.2", 1, 1, {10}, {0})  // behind an nn.Flatten
      .layer("decoder.0", 1, 1, {1}, {0})
      .add("decoder.2.weight", {1, 1, 1, 2}, {5, 7})
      .add("decoder.2.bias", {1}, {-1});
  const AuditNet net(map.view(), "x.safetensors", config, {1, 2, 1});
  EXPECT_EQ(net.encode({1, 2}).mean, (AuditRows{90}));  // 10 (2 + 6 + 1)
  EXPECT_EQ(net.decode({2}), (AuditRows{9, 13}));
}

TEST(AuditConv, NamesWhatIsMissing) {
  const TensorMap empty;
  EXPECT_EQ(
      error_of([&] {
        AuditNet(empty.view(), "x", conv_config(), {11, 9, 3});
      }),
      "4: x: no tensor \"encoder.0.weight\"; expected PyTorch's names of the network that its "
      "configuration describes");
}

}  // namespace
}  // namespace elbo
