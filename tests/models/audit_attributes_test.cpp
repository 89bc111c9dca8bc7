// Models that are told attributes by hand, beside the auditor.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/sprites.h"
#include "models/audit.h"
#include "models/inference.h"
#include "tests/kernels/linear_oracle.h"
#include "tests/models/file_of.h"
#include "tests/support/error_of.h"

namespace elbo {
namespace {

ModelConfig told_attributes(ModelKind kind) {
  ModelConfig config;
  config.kind = kind;
  config.latent_dim = 4;
  config.condition = Condition::attributes;
  config.attributes = 3;
  config.hidden = {8, 6};
  config.encoder = {"conv 5 k3 s2 leaky_relu", "linear 9 tanh"};
  config.decoder = {"linear 7 relu", "linear flat gelu", "convt image k3 s2"};
  return config;
}

// The third attribute never varied.
const AttributeScale kScale{{20, -3, 0.5}, {4, 0.25, 0}};

struct Model {
  Context context{{Device::cpu, 0, ""}};
  ParamStore params{context};
  Autoencoder model;
  Model(const ModelConfig& config, const ImageSize& image) : model(params, config, image) {
    params.finalise();
    params.initialise(5);
    model.set_attribute_scale(kScale);
  }
  TensorMap file() const {
    TensorMap map = file_of(params);
    return map.add("attributes.mean", {3}, kScale.mean)
        .add("attributes.deviation", {3}, kScale.deviation);
  }
};

TEST(AuditAttributes, AgreesWithTheEngine) {
  const ImageSize image{7, 5, 3};
  const std::vector<float> rows = {24, -3.2f, 0.5f, 17, -3, 80, 20, -2.5f, 0, 31, -3.3f, 1};
  const Conditions conditions = Conditions::of_attributes(rows);
  const AuditConditions audited_conditions({}, {rows.begin(), rows.end()});
  ModelConfig classic = told_attributes(ModelKind::mlp_vae);
  classic.hidden = {8};
  for (const ModelConfig& config :
       {classic, told_attributes(ModelKind::mlp_vae), told_attributes(ModelKind::mlp_ae),
        told_attributes(ModelKind::conv_vae), told_attributes(ModelKind::conv_ae)}) {
    Model m(config, image);
    const TensorMap file = m.file();
    const AuditNet net(file.view(), "x.safetensors", config, image);
    EXPECT_EQ(net.attributes(), 3);
    EXPECT_EQ(net.classes(), 0);
    Inference inference(m.context, m.model);
    const std::vector<float> pixels = oracle::Numbers(1)(4 * image.size());
    const auto engine = inference.encode(pixels, conditions);
    const AuditPosterior audited = net.encode({pixels.begin(), pixels.end()}, audited_conditions);
    ASSERT_EQ(engine.mean.size(), audited.mean.size());
    for (size_t i = 0; i < engine.mean.size(); ++i)
      ASSERT_NEAR(engine.mean[i], audited.mean[i], 1e-5);
    for (size_t i = 0; i < engine.logvar.size(); ++i)
      ASSERT_NEAR(engine.logvar[i], audited.logvar[i], 1e-5);
    const std::vector<float> latents = oracle::Numbers(2)(4 * 4);
    const std::vector<float> pictures = inference.decode(latents, conditions);
    const AuditRows logits = net.decode({latents.begin(), latents.end()}, audited_conditions);
    ASSERT_EQ(pictures.size(), logits.size());
    for (size_t i = 0; i < pictures.size(); ++i)
      ASSERT_NEAR(pictures[i], 1 / (1 + std::exp(-logits[i])), 1e-5);
  }
}

// Two pixels and two attributes to one code and back, all written down.
TEST(AuditAttributes, ForwardIsWhatPencilAndPaperGive) {
  ModelConfig config;
  config.kind = ModelKind::mlp_ae;
  config.hidden = {};
  config.latent_dim = 1;
  config.condition = Condition::attributes;
  config.attributes = 2;
  TensorMap map;
  map.layer("encoder.0", 1, 4, {1, 2, 10, 100}, {1000})
      .layer("decoder.0", 2, 3, {1, 10, 20, 2, 30, 40}, {0, 5})
      .add("attributes.mean", {2}, {50, 1})
      .add("attributes.deviation", {2}, {4, 0});
  const AuditNet net(map.view(), "x.safetensors", config, {1, 2, 1});
  // 3 + 2 * 4 + 10 * 2 + 1000 and 5 + 2 * 6 + 10 * -0.5 + 1000.
  EXPECT_EQ(net.encode({3, 4, 5, 6}, {{}, {58, 7, 48, 1}}).mean, (AuditRows{1031, 1012}));
  EXPECT_EQ(net.decode({7, 8}, {{}, {54, 2, 50, 3}}), (AuditRows{17, 49, 8, 21}));
  TensorMap without = map;
  without.remove("attributes.mean");
  EXPECT_EQ(error_of([&] {
              AuditNet(without.view(), "x.safetensors", config, {1, 2, 1});
            }),
            "4: x.safetensors: no tensor \"attributes.mean\"; expected PyTorch's names of an MLP "
            "autoencoder");
}

TEST(AuditAttributes, CountInEveryFigure) {
  const ModelConfig config = told_attributes(ModelKind::mlp_vae);
  Model m(config, {2, 2, 1});
  const TensorMap file = m.file();
  const AuditNet net(file.view(), "x.safetensors", config, {2, 2, 1});
  AuditData data(std::vector<uint8_t>{0, 51, 102, 255, 9, 80, 7, 1}, 4, DataVariant::grey);
  AuditOptions options;
  options.nll_samples = 40;
  const auto audited = [&](std::vector<float> rows) {
    data.set_attributes({"a", "b", "c"}, std::move(rows));
    return audit(net, {Likelihood::bernoulli, 0}, data, options);
  };
  const AuditReport one = audited({20, -3, 0, 24, -3, 0}), other = audited({20, -3, 0, 25, -3, 0});
  EXPECT_NE(one.recon_nats, other.recon_nats);
  EXPECT_NE(one.kl_nats, other.kl_nats);
  EXPECT_NE(one.nll_nats, other.nll_nats);
  // The first image is told the same, and so has the same figures.
  EXPECT_EQ(one.per_image[0].nll_nats, other.per_image[0].nll_nats);
  EXPECT_EQ(one.recon_nats, audited({20, -3, 5, 24, -3, 6}).recon_nats);
  data.set_attributes({}, {});
  EXPECT_EQ(error_of([&] {
              audit(net, {Likelihood::bernoulli, 0}, data, options);
            }),
            "4: evaluate: the images have 0 attributes, and the model was trained with 3");
}

TEST(AuditAttributes, OfSpritesAreThoseOfTheirFactors) {
  const AuditData data = AuditData::sprites(8, 100, 5, {"orientation", "y"});
  const std::vector<double> found = data.attributes(1, 3);
  ASSERT_EQ(found.size(), 6u);
  for (int64_t i = 0; i < 3; ++i) {
    const SpriteFactors factors = sprite_factors(sprite_of_item(0, 101 + i));
    EXPECT_NEAR(found[static_cast<size_t>(2 * i)], 2 * std::acos(-1) * factors.orientation / 40,
                1e-6);
    EXPECT_NEAR(found[static_cast<size_t>(2 * i + 1)], factors.pos_y / 31.0, 1e-6);
  }
}

}  // namespace
}  // namespace elbo
