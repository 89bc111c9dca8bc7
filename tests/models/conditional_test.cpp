// Models that are told the label of an image: they learn from it, whatever the network, and graphs, resumes
// and the auditor know it.
#include <gtest/gtest.h>

#include "kernels/sprites.h"
#include "tests/models/told_training.h"

namespace elbo {
namespace {

using namespace told_training_test;

constexpr int64_t kLabels = 4;

class Conditional : public ToldTraining {
 protected:
  // 6 x 4 pixels of `channels_`: the label says which quarter is white, grey noise is the rest.
  ImageSplit images(int64_t count) const override {
    ImageSplit split;
    split.count = count;
    split.height = 6;
    split.width = 4;
    split.channels = channels_;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t label = 3 * i % 5 % kLabels;
      split.labels.push_back(static_cast<uint8_t>(label));
      for (int64_t y = 0; y < 6; ++y) {
        for (int64_t x = 0; x < 4; ++x) {
          const bool white = y / 3 == label / 2 && x / 2 == label % 2;
          for (int64_t c = 0; c < channels_; ++c) {
            const auto noise = static_cast<uint8_t>((i * 31 + y * 7 + x * 3 + c * 11) % 64);
            split.file.push_back(static_cast<std::byte>(white ? 255 - noise : noise));
          }
        }
      }
    }
    return split;
  }

  RunConfig config(ModelKind kind) const override {
    return told_config(kind, Condition::label, kLabels);
  }

  // Mean brightness of quarter `quarter` of a picture, less that of the others.
  double contrast(const float* picture, int64_t quarter) const {
    double inside = 0, outside = 0;
    for (int64_t y = 0; y < 6; ++y) {
      for (int64_t x = 0; x < 4; ++x) {
        for (int64_t c = 0; c < channels_; ++c) {
          const double value = picture[(y * 4 + x) * channels_ + c];
          (y / 3 * 2 + x / 2 == quarter ? inside : outside) += value;
        }
      }
    }
    const auto values = static_cast<double>(6 * channels_);
    return inside / values - outside / (3 * values);
  }

  int64_t channels_ = 1;
};

TEST_P(Conditional, FiftyStepsLowerTheLoss) {
  channels_ = 3;
  for (const ModelKind kind : kKinds) {
    RunConfig run = config(kind);
    run.train.epochs = 10;
    run.output.eval_interval = 0;
    expect_loss_falls(run, 0.9);
  }
}

// With objectives that are put together from single ops, some with several latents for an image.
TEST_P(Conditional, EveryBoundKnowsTheLabel) {
  expect_bounds_train({Bound::iwae, Bound::dreg, Bound::tcvae}, 6);
  expect_contractive_is_refused();
}

// On the CPU: the CUDA half may be simulated. Not of plain autoencoders, which may hide a label in the code.
TEST_P(Conditional, DrawsWhatItIsTold) {
  if (GetParam() == Device::cuda) GTEST_SKIP() << "trains too long for a simulated device";
  for (const ModelKind kind : {ModelKind::mlp_vae, ModelKind::conv_vae}) {
    channels_ = kind == ModelKind::mlp_vae ? 3 : 1;
    RunConfig long_run = config(kind);
    long_run.train.epochs = 40;
    Trained run = trained(long_run);
    Recorder record;
    run.trainer.run(record);
    Inference inference(run.context, run.trainer.model());
    const std::vector<float> latents = inference.prior_latents(8, 5);
    for (uint8_t label = 0; label < kLabels; ++label) {
      const std::vector<float> pictures = inference.decode(latents, Inference::Labels(8, label));
      for (int64_t i = 0; i < 8; ++i) {
        EXPECT_GT(contrast(pictures.data() + i * 24 * channels_, label), 0.5)
            << "kind " << static_cast<int>(kind) << ", label " << static_cast<int>(label);
      }
    }
  }
}

TEST_P(Conditional, GraphsAndResumesChangeNoBit) {
  for (const ModelKind kind : {ModelKind::mlp_vae, ModelKind::conv_vae})
    expect_same_bits_of_graphs_and_resumes(config(kind));
}

TEST_P(Conditional, HalfPrecisionTrains) { expect_half_precision_trains(); }

TEST_P(Conditional, SpritesHaveTheirShapeForALabel) {
  RunConfig sprites = config(ModelKind::mlp_vae);
  sprites.data.kind = DataKind::sprites;
  sprites.model.classes = 3;
  Session session(sprites, GetParam());
  Recorder record;
  EXPECT_TRUE(session.trainer.run(record));
  EXPECT_EQ(session.train.classes(), 3);
  Tape tape(session.context);
  std::vector<int32_t> labels(16);
  Tensor label;
  tape.run(1, [&](Tape& t) {
    BatchOrder order;
    order.first = 5;
    label =
        session.test.gather(t, order, 15, Binarise::none, DType::f32, Condition::label).condition;
    t.keep(label);
  });
  session.context.download(labels.data(), label.data, label.bytes());
  for (int64_t i = 0; i < 15; ++i) {
    const int shape = sprite_factors(sprite_of_item(0, 75 + i)).shape;
    EXPECT_EQ(labels[static_cast<size_t>(i)], shape);
    EXPECT_EQ(session.test.label_of(5 + i), shape);
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, Conditional, testing::ValuesIn(available_devices()), device_name);

}  // namespace
}  // namespace elbo
