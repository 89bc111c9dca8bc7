// Conditional models by hand, beside the auditor, and what is refused.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "tests/models/told_model.h"
#include "tests/support/error_of.h"

namespace elbo {
namespace {

using namespace told_model_test;

ModelConfig conditional(ModelKind kind) { return told_config(kind, Condition::label); }

TEST(AuditConditional, AgreesWithTheEngine) {
  expect_agreement(Condition::label, Told::labels({2, 0, 1, 2}), Told::labels({2, 0, 1, 1}));
}

TEST(AuditConditional, ForwardIsWhatPencilAndPaperGive) {
  const PencilModel model(Condition::label);
  const AuditNet net = model.net();
  EXPECT_EQ(net.encode({3, 4, 5, 6}, {0, 1}).mean, (AuditRows{1021, 1117}));
  EXPECT_EQ(net.decode({7, 8}, {1, 0}), (AuditRows{27, 59, 18, 51}));
}

TEST(AuditConditional, GuessesTheLabelsThatTheEngineGuesses) {
  const ImageSize image{7, 5, 3};
  for (const ModelKind kind : {ModelKind::mlp_vae, ModelKind::conv_vae}) {
    ModelConfig config = conditional(kind);
    config.classifier = true;
    ToldModel m(config, image);
    const TensorMap file = m.file();
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
  ToldAudit two(conditional(ModelKind::mlp_vae));
  const auto audited = [&](std::vector<uint8_t> labels) {
    two.data.set_labels(std::move(labels));
    return two.report();
  };
  expect_other_figures(audited({0, 1}), audited({2, 1}));
  EXPECT_EQ(error_of([&] { audited({}); }),
            "4: evaluate: the model is conditional, and the images have no labels");
  EXPECT_EQ(error_of([&] {
              audited({0, 3});
            }),
            "4: evaluate: found label 3, expected 0 to 2: the model was trained on no other");
}

TEST(ConditionalModel, RefusesWhatItCannotDo) {
  ToldModel m(conditional(ModelKind::mlp_vae), {2, 2, 1});
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
              ToldModel(unknown, {2, 2, 1});
            }),
            "2: model.classes is 0; expected the number of labels of a conditional model");
  ModelConfig picture = conditional(ModelKind::conv_vae);
  picture.latent_channels = 2;
  EXPECT_EQ(error_of([&] {
              ToldModel(picture, {4, 4, 1});
            }).substr(0, 30),
            "2: model.condition is \"label\" ");
}

TEST(ConditionalModel, OneLabelCanBeForAllLatents) {
  ToldModel m(conditional(ModelKind::conv_vae), {7, 5, 1});
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
