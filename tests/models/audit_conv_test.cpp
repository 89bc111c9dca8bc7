// The auditor's convolutional networks: by hand, and beside the engine's.
#include <gtest/gtest.h>

#include "models/audit_net.h"
#include "models/autoencoder.h"
#include "models/inference.h"
#include "tests/kernels/linear_oracle.h"
#include "tests/models/file_of.h"
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

// Odd, not square, in colour: every order of pixels and channels is another one.
TEST(AuditConv, AgreesWithTheEngine) {
  const ImageSize image{11, 9, 3};
  Context context({Device::cpu, 0, ""});
  ParamStore params(context);
  const Autoencoder model(params, conv_config(), image);
  params.finalise();
  params.initialise(5);
  const TensorMap file = file_of(params);
  const AuditNet net(file.view(), "x.safetensors", conv_config(), image);
  Inference inference(context, model);

  const std::vector<float> pixels = oracle::Numbers(1)(2 * image.size());
  const auto engine = inference.encode(pixels);
  const AuditPosterior audited = net.encode({pixels.begin(), pixels.end()});
  ASSERT_EQ(engine.mean.size(), audited.mean.size());
  for (size_t i = 0; i < engine.mean.size(); ++i) {
    EXPECT_NEAR(engine.mean[i], audited.mean[i], 1e-5);
    EXPECT_NEAR(engine.logvar[i], audited.logvar[i], 1e-5);
  }

  const std::vector<float> latents = oracle::Numbers(2)(2 * 4);
  const std::vector<float> pictures = inference.decode(latents);
  const AuditRows logits = net.decode({latents.begin(), latents.end()});
  ASSERT_EQ(pictures.size(), logits.size());
  for (size_t i = 0; i < pictures.size(); ++i) {
    EXPECT_NEAR(pictures[i], 1 / (1 + std::exp(-logits[i])), 1e-5);
  }
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
