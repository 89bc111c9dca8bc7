// Models that are told something of an image, with weights as they begin, in the engine and in the
// auditor: one of three labels, or three attributes of which the last never varied.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "models/audit.h"
#include "models/autoencoder.h"
#include "models/inference.h"
#include "tests/kernels/linear_oracle.h"
#include "tests/models/file_of.h"

namespace elbo::told_model_test {

inline ModelConfig told(ModelConfig config, Condition condition, int64_t values) {
  config.condition = condition;
  (condition == Condition::label ? config.classes : config.attributes) = values;
  return config;
}

inline ModelConfig told_config(ModelKind kind, Condition condition) {
  ModelConfig config;
  config.kind = kind;
  config.latent_dim = 4;
  config.hidden = {8, 6};
  config.encoder = {"conv 5 k3 s2 leaky_relu", "linear 9 tanh"};
  config.decoder = {"linear 7 relu", "linear flat gelu", "convt image k3 s2"};
  return told(config, condition, 3);
}

struct ToldModel {
  Context context{{Device::cpu, 0, ""}};
  ParamStore params{context};
  Autoencoder model;
  const AttributeScale scale{{20, -3, 0.5}, {4, 0.25, 0}};

  ToldModel(const ModelConfig& config, const ImageSize& image) : model(params, config, image) {
    params.finalise();
    params.initialise(5);
    if (model.knows_attributes()) model.set_attribute_scale(scale);
  }

  TensorMap file() const {
    TensorMap map = file_of(params);
    if (model.knows_attributes()) {
      map.add("attributes.mean", {3}, scale.mean).add("attributes.deviation", {3}, scale.deviation);
    }
    return map;
  }
};

// As both halves take it.
struct Told {
  Conditions engine;
  AuditConditions audited;

  static Told labels(std::vector<uint8_t> labels) { return {labels, labels}; }
  static Told attributes(const std::vector<float>& rows) {
    return {Conditions::of_attributes(rows), {{}, {rows.begin(), rows.end()}}};
  }
};

// Every kind of network, told the same of four images: engine and auditor find the same numbers, and
// others where the last image is told something else.
inline void expect_agreement(Condition condition, const Told& conditions, const Told& other) {
  const ImageSize image{7, 5, 3};
  ModelConfig classic = told_config(ModelKind::mlp_vae, condition);
  classic.hidden = {8};
  std::vector<ModelConfig> configs = {classic};
  for (const ModelKind kind :
       {ModelKind::mlp_vae, ModelKind::mlp_ae, ModelKind::conv_vae, ModelKind::conv_ae})
    configs.push_back(told_config(kind, condition));
  for (const ModelConfig& config : configs) {
    ToldModel m(config, image);
    const TensorMap file = m.file();
    const AuditNet net(file.view(), "x.safetensors", config, image);
    EXPECT_EQ(net.attributes(), config.attributes);
    EXPECT_EQ(net.classes(), config.classes);
    Inference inference(m.context, m.model);
    const std::vector<float> pixels = oracle::Numbers(1)(4 * image.size());
    const auto engine = inference.encode(pixels, conditions.engine);
    const AuditPosterior audited = net.encode({pixels.begin(), pixels.end()}, conditions.audited);
    ASSERT_EQ(engine.mean.size(), audited.mean.size());
    for (size_t i = 0; i < engine.mean.size(); ++i)
      ASSERT_NEAR(engine.mean[i], audited.mean[i], 1e-5);
    for (size_t i = 0; i < engine.logvar.size(); ++i)
      ASSERT_NEAR(engine.logvar[i], audited.logvar[i], 1e-5);
    EXPECT_NE(inference.encode(pixels, other.engine).mean, engine.mean);

    const std::vector<float> latents = oracle::Numbers(2)(4 * 4);
    const std::vector<float> pictures = inference.decode(latents, conditions.engine);
    const AuditRows logits = net.decode({latents.begin(), latents.end()}, conditions.audited);
    ASSERT_EQ(pictures.size(), logits.size());
    for (size_t i = 0; i < pictures.size(); ++i)
      ASSERT_NEAR(pictures[i], 1 / (1 + std::exp(-logits[i])), 1e-5);
    EXPECT_NE(inference.decode(latents, other.engine), pictures);
  }
}

// Two pixels and two values that are told to one code and back, all written down.
struct PencilModel {
  ModelConfig config;
  TensorMap file;
  ImageSize image{1, 2, 1};

  explicit PencilModel(Condition condition) {
    config.kind = ModelKind::mlp_ae;
    config.hidden = {};
    config.latent_dim = 1;
    config = told(config, condition, 2);
    file.layer("encoder.0", 1, 4, {1, 2, 10, 100}, {1000})
        .layer("decoder.0", 2, 3, {1, 10, 20, 2, 30, 40}, {0, 5});
  }
  AuditNet net() const { return {file.view(), "x.safetensors", config, image}; }
};

// Two images of four pixels, for whatever they are told.
struct ToldAudit {
  ToldModel model;
  TensorMap file = model.file();
  AuditNet net;
  AuditData data{std::vector<uint8_t>{0, 51, 102, 255, 9, 80, 7, 1}, 4, DataVariant::grey};

  explicit ToldAudit(const ModelConfig& config)
      : model(config, {2, 2, 1}), net(file.view(), "x.safetensors", config, {2, 2, 1}) {}
  AuditReport report() const {
    AuditOptions options;
    options.nll_samples = 40;
    return audit(net, {Likelihood::bernoulli, 0}, data, options);
  }
};

inline void expect_other_figures(const AuditReport& one, const AuditReport& other) {
  EXPECT_NE(one.recon_nats, other.recon_nats);
  EXPECT_NE(one.kl_nats, other.kl_nats);
  EXPECT_NE(one.nll_nats, other.nll_nats);
}

}  // namespace elbo::told_model_test
