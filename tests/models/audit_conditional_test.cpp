// Conditional models by hand, beside the auditor, and what is refused.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "models/audit.h"
#include "models/autoencoder.h"
#include "models/inference.h"
#include "tests/kernels/linear_oracle.h"
#include "tests/models/file_of.h"
#include "tests/support/error_of.h"

namespace elbo {
namespace {

ModelConfig conditional(ModelKind kind) {
  ModelConfig config;
  config.kind = kind;
  config.latent_dim = 4;
  config.condition = Condition::label;
  config.classes = 3;
  config.hidden = {8, 6};
  config.encoder = {"conv 5 k3 s2 leaky_relu", "linear 9 tanh"};
  config.decoder = {"linear 7 relu", "linear flat gelu", "convt image k3 s2"};
  return config;
}

struct Model {
  Context context{{Device::cpu, 0, ""}};
  ParamStore params{context};
  Autoencoder model;
  Model(const ModelConfig& config, const ImageSize& image) : model(params, config, image) {
    params.finalise();
    params.initialise(5);
  }
};

TEST(AuditConditional, AgreesWithTheEngine) {
  const ImageSize image{7, 5, 3};
  const Inference::Labels labels = {2, 0, 1, 2};
  ModelConfig classic = conditional(ModelKind::mlp_vae);
  classic.hidden = {8};
  for (const ModelConfig& config :
       {classic, conditional(ModelKind::mlp_vae), conditional(ModelKind::mlp_ae),
        conditional(ModelKind::conv_vae), conditional(ModelKind::conv_ae)}) {
    Model m(config, image);
    const TensorMap file = file_of(m.params);
    const AuditNet net(file.view(), "x.safetensors", config, image);
    Inference inference(m.context, m.model);
    const std::vector<float> pixels = oracle::Numbers(1)(4 * image.size());
    const auto engine = inference.encode(pixels, labels);
    const AuditPosterior audited = net.encode({pixels.begin(), pixels.end()}, labels);
    ASSERT_EQ(engine.mean.size(), audited.mean.size());
    for (size_t i = 0; i < engine.mean.size(); ++i) {
      ASSERT_NEAR(engine.mean[i], audited.mean[i], 1e-5);
    }
    for (size_t i = 0; i < engine.logvar.size(); ++i)
      ASSERT_NEAR(engine.logvar[i], audited.logvar[i], 1e-5);
    EXPECT_NE(inference.encode(pixels, {2, 0, 1, 1}).mean, engine.mean);

    const std::vector<float> latents = oracle::Numbers(2)(4 * 4);
    const std::vector<float> pictures = inference.decode(latents, labels);
    const AuditRows logits = net.decode({latents.begin(), latents.end()}, labels);
    ASSERT_EQ(pictures.size(), logits.size());
    for (size_t i = 0; i < pictures.size(); ++i)
      ASSERT_NEAR(pictures[i], 1 / (1 + std::exp(-logits[i])), 1e-5);
    EXPECT_NE(inference.decode(latents, {2, 0, 1, 1}), pictures);
  }
}

// Two pixels and two labels to one code and back, all written down.
TEST(AuditConditional, ForwardIsWhatPencilAndPaperGive) {
  ModelConfig config;
  config.kind = ModelKind::mlp_ae;
  config.hidden = {};
  config.latent_dim = 1;
  config.condition = Condition::label;
  config.classes = 2;
  TensorMap map;
  map.layer("encoder.0", 1, 4, {1, 2, 10, 100}, {1000})
      .layer("decoder.0", 2, 3, {1, 10, 20, 2, 30, 40}, {0, 5});
  const AuditNet net(map.view(), "x.safetensors", config, {1, 2, 1});
  EXPECT_EQ(net.encode({3, 4, 5, 6}, {0, 1}).mean, (AuditRows{1021, 1117}));
  EXPECT_EQ(net.decode({7, 8}, {1, 0}), (AuditRows{27, 59, 18, 51}));
}

TEST(AuditConditional, GuessesTheLabelsThatTheEngineGuesses) {
  const ImageSize image{7, 5, 3};
  for (const ModelKind kind : {ModelKind::mlp_vae, ModelKind::conv_vae}) {
    ModelConfig config = conditional(kind);
    config.classifier = true;
    Model m(config, image);
    const TensorMap file = file_of(m.params);
    const AuditNet net(file.view(), "x.safetensors", config, image);
    ASSERT_TRUE(net.classifies());
    Inference inference(m.context, m.model);
    constexpr int64_t kImages = 60;
    const std::vector<float> pixels = oracle::Numbers(1)(kImages * image.size());
    const AuditLabels audited = net.classify({pixels.begin(), pixels.end()});
    EXPECT_EQ(audited, inference.classify(pixels));
    EXPECT_GT(std::set<int>(audited.begin(), audited.end()).size(), 1u);
    // The accuracy of a set whose labels are the guesses is one, and of one with a third changed
    // two thirds.
    std::vector<uint8_t> bytes;
    for (const float pixel : pixels)
      bytes.push_back(static_cast<uint8_t>(std::lround(255 * std::abs(pixel))));
    AuditData data(bytes, image.size(), DataVariant::grey);
    AuditRows grey = data.images(0, kImages, 1);
    AuditLabels labels = net.classify(grey);
    data.set_labels(labels);
    EXPECT_EQ(audit(net, {Likelihood::bernoulli, 0}, data, {}).accuracy, 1.0);
    for (int64_t i = 0; i < kImages; i += 3)
      labels[static_cast<size_t>(i)] =
          static_cast<uint8_t>((labels[static_cast<size_t>(i)] + 1) % 3);
    data.set_labels(labels);
    EXPECT_NEAR(*audit(net, {Likelihood::bernoulli, 0}, data, {}).accuracy, 2.0 / 3, 1e-12);
  }
}

// Two pixels and two labels: a classifier of one layer, written down.
TEST(AuditConditional, AClassifierIsWhatItsTensorsSay) {
  ModelConfig config;
  config.hidden = {};
  config.latent_dim = 1;
  config.condition = Condition::label;
  config.classes = 2;
  config.classifier = true;
  TensorMap map;
  map.layer("fc_mu", 1, 4, {1, 2, 10, 100}, {0})
      .layer("fc_logvar", 1, 4, {0, 0, 0, 0}, {0})
      .layer("decoder.0", 2, 3, {1, 10, 20, 2, 30, 40}, {0, 5})
      .layer("classifier.0", 2, 2, {1, -1, 0, 0}, {0, 0.5});
  const AuditNet net(map.view(), "x.safetensors", config, {1, 2, 1});
  EXPECT_EQ(net.classify({0.9, 0.2, 0.9, 0.5, 0.1, 0.1}), (AuditLabels{0, 1, 1}));
  config.classes = 3;
  TensorMap wide;
  wide.layer("fc_mu", 1, 5, {1, 2, 10, 100, 0}, {0})
      .layer("fc_logvar", 1, 5, {0, 0, 0, 0, 0}, {0})
      .layer("decoder.0", 2, 4, {1, 10, 20, 2, 30, 40, 0, 0}, {0, 5})
      .layer("classifier.0", 2, 2, {1, -1, 0, 0}, {0, 0.5});
  EXPECT_EQ(error_of([&] {
              AuditNet(wide.view(), "x.safetensors", config, {1, 2, 1});
            }),
            "4: x.safetensors: the layers of the classifier do not lead from 2 values to 3 "
            "classes");
}

TEST(AuditConditional, LabelsCountInEveryFigure) {
  ModelConfig config = conditional(ModelKind::mlp_vae);
  Model m(config, {2, 2, 1});
  const TensorMap file = file_of(m.params);
  const AuditNet net(file.view(), "x.safetensors", config, {2, 2, 1});
  AuditData data(std::vector<uint8_t>{0, 51, 102, 255, 9, 80, 7, 1}, 4, DataVariant::grey);
  AuditOptions options;
  options.nll_samples = 40;
  const auto audited = [&](std::vector<uint8_t> labels) {
    data.set_labels(std::move(labels));
    return audit(net, {Likelihood::bernoulli, 0}, data, options);
  };
  const AuditReport one = audited({0, 1}), other = audited({2, 1});
  EXPECT_NE(one.recon_nats, other.recon_nats);
  EXPECT_NE(one.kl_nats, other.kl_nats);
  EXPECT_NE(one.nll_nats, other.nll_nats);
  EXPECT_EQ(error_of([&] { audited({}); }),
            "4: evaluate: the model is conditional, and the images have no labels");
  EXPECT_EQ(error_of([&] {
              audited({0, 3});
            }),
            "4: evaluate: found label 3, expected 0 to 2: the model was trained on no other");
}

TEST(ConditionalModel, RefusesWhatItCannotDo) {
  Model m(conditional(ModelKind::mlp_vae), {2, 2, 1});
  Inference inference(m.context, m.model);
  const std::vector<float> latent(4, 0.0f), image(4, 0.5f);
  EXPECT_EQ(error_of([&] { inference.decode(latent); }),
            "2: the model is conditional: --label is missing, expected a label from 0 to 2");
  EXPECT_EQ(error_of([&] { inference.encode(image, {3}); }),
            "4: found label 3, expected 0 to 2: the model was trained on no other");
  EXPECT_EQ(error_of([&] { inference.set_label(7); }),
            "4: found label 7, expected 0 to 2: the model was trained on no other");
  ModelConfig unknown = conditional(ModelKind::mlp_vae);
  unknown.classes = 0;
  EXPECT_EQ(error_of([&] {
              Model(unknown, {2, 2, 1});
            }),
            "2: model.classes is 0; expected the number of labels of a conditional model");
  ModelConfig picture = conditional(ModelKind::conv_vae);
  picture.latent_channels = 2;
  EXPECT_EQ(error_of([&] {
              Model(picture, {4, 4, 1});
            }).substr(0, 30),
            "2: model.condition is \"label\" ");
}

TEST(ConditionalModel, OneLabelCanBeForAllLatents) {
  Model m(conditional(ModelKind::conv_vae), {7, 5, 1});
  Inference inference(m.context, m.model);
  const std::vector<float> latents = oracle::Numbers(2)(2 * 4), images(2 * 35, 0.5f);
  const auto own = inference.encode(images, {0, 1}).mean;
  const auto decoded = inference.decode(latents, {2, 2});
  inference.set_label(2);
  EXPECT_EQ(inference.decode(latents), decoded);
  EXPECT_EQ(inference.decode(latents, {0, 1}), decoded);  // whatever the images' own are
  EXPECT_EQ(inference.encode(images, {0, 1}).mean, own);
  EXPECT_EQ(inference.encode(images).mean, inference.encode(images, {2, 2}).mean);
}

}  // namespace
}  // namespace elbo
