// Models that are told the label of an image: they learn from it, whatever the network, and graphs, resumes
// and the auditor know it.
#include <gtest/gtest.h>

#include "kernels/sprites.h"
#include "models/inference.h"
#include "tests/models/trainer_fixture.h"
#include "tests/support/device.h"
#include "tests/support/error_of.h"

namespace elbo {
namespace {

using namespace trainer_test;

constexpr int64_t kLabels = 4;

class Conditional : public testing::TestWithParam<Device> {
 protected:
  void SetUp() override {
    if (GetParam() == Device::cuda && !why_no_cuda().empty()) GTEST_SKIP() << why_no_cuda();
  }

  // 6 x 4 pixels of `channels`: the label says which quarter is white, grey noise is the rest.
  static ImageSplit images(int64_t count, int64_t channels) {
    ImageSplit split;
    split.count = count;
    split.height = 6;
    split.width = 4;
    split.channels = channels;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t label = 3 * i % 5 % kLabels;
      split.labels.push_back(static_cast<uint8_t>(label));
      for (int64_t y = 0; y < 6; ++y) {
        for (int64_t x = 0; x < 4; ++x) {
          const bool white = y / 3 == label / 2 && x / 2 == label % 2;
          for (int64_t c = 0; c < channels; ++c) {
            const auto noise = static_cast<uint8_t>((i * 31 + y * 7 + x * 3 + c * 11) % 64);
            split.file.push_back(static_cast<std::byte>(white ? 255 - noise : noise));
          }
        }
      }
    }
    return split;
  }

  struct Run {
    Context context;
    ImageData train, test;
    Trainer trainer;
    Run(const RunConfig& config, Device device, int64_t channels)
        : context({device, 0, ""}),
          train(ImageData::from_split(context, images(70, channels))),
          test(ImageData::from_split(context, images(20, channels))),
          trainer(context, config, train, &test) {}
  };

  static RunConfig config(ModelKind kind) {
    RunConfig config = tiny_config();
    config.data.kind = DataKind::images;
    config.model.kind = kind;
    config.model.latent_dim = 2;
    config.model.condition = Condition::label;
    config.model.classes = kLabels;
    config.model.encoder = {"conv 6 k4 s2 relu", "linear 16 relu"};
    config.model.decoder = {"linear flat relu", "convt image k4 s2"};
    config.train.learning_rate.base = 1e-2f;
    return config;
  }

  // Mean brightness of quarter `quarter` of a picture, less that of the others.
  static double contrast(const float* picture, int64_t channels, int64_t quarter) {
    double inside = 0, outside = 0;
    for (int64_t y = 0; y < 6; ++y) {
      for (int64_t x = 0; x < 4; ++x) {
        for (int64_t c = 0; c < channels; ++c) {
          const double value = picture[(y * 4 + x) * channels + c];
          (y / 3 * 2 + x / 2 == quarter ? inside : outside) += value;
        }
      }
    }
    const auto values = static_cast<double>(6 * channels);
    return inside / values - outside / (3 * values);
  }
};

constexpr ModelKind kKinds[] = {ModelKind::mlp_vae, ModelKind::mlp_ae, ModelKind::conv_vae,
                                ModelKind::conv_ae};

TEST_P(Conditional, FiftyStepsLowerTheLoss) {
  for (const ModelKind kind : kKinds) {
    RunConfig short_run = config(kind);
    short_run.train.epochs = 10;
    short_run.output.eval_interval = 0;
    Run run(short_run, GetParam(), 3);
    Recorder record;
    run.trainer.run(record);
    EXPECT_LT(record.epochs.back().train.loss, 0.9 * record.epochs.front().train.loss);
  }
}

// With objectives that are put together from single ops, some with several latents for an image.
TEST_P(Conditional, EveryBoundKnowsTheLabel) {
  for (const Bound bound : {Bound::iwae, Bound::dreg, Bound::tcvae}) {
    RunConfig short_run = config(ModelKind::mlp_vae);
    short_run.train.objective.bound = bound;
    short_run.train.objective.samples = bound == Bound::tcvae ? 1 : 3;
    short_run.train.epochs = 6;
    Run run(short_run, GetParam(), 1);
    Recorder record;
    run.trainer.run(record);
    EXPECT_LT(record.epochs.back().test.loss, record.epochs.front().test.loss)
        << "bound " << static_cast<int>(bound);
  }
  RunConfig contractive = config(ModelKind::mlp_ae);
  contractive.train.objective.contractive = 0.1f;
  EXPECT_EQ(error_of([&] { Run(contractive, GetParam(), 1); }),
            "2: train.objective.contractive is for encoders that see images alone; leave out "
            "--condition");
}

// On the CPU: the CUDA half may be simulated. Not of plain autoencoders, which may hide a label in the code.
TEST_P(Conditional, DrawsWhatItIsTold) {
  if (GetParam() == Device::cuda) GTEST_SKIP() << "trains too long for a simulated device";
  for (const ModelKind kind : {ModelKind::mlp_vae, ModelKind::conv_vae}) {
    const int64_t channels = kind == ModelKind::mlp_vae ? 3 : 1;
    RunConfig long_run = config(kind);
    long_run.train.epochs = 40;
    Run run(long_run, GetParam(), channels);
    Recorder record;
    run.trainer.run(record);
    Inference inference(run.context, run.trainer.model());
    const std::vector<float> latents = inference.prior_latents(8, 5);
    for (uint8_t label = 0; label < kLabels; ++label) {
      const std::vector<float> pictures = inference.decode(latents, Inference::Labels(8, label));
      for (int64_t i = 0; i < 8; ++i) {
        EXPECT_GT(contrast(pictures.data() + i * 24 * channels, channels, label), 0.5)
            << "kind " << static_cast<int>(kind) << ", label " << static_cast<int>(label);
      }
    }
  }
}

TEST_P(Conditional, GraphsAndResumesChangeNoBit) {
  for (const ModelKind kind : {ModelKind::mlp_vae, ModelKind::conv_vae}) {
    RunConfig plain = config(kind);
    plain.graph_steps = 0;
    Run whole(plain, GetParam(), 1);
    Recorder record;
    whole.trainer.run(record);
    const auto expected = bytes_of(whole.trainer.snapshot());
    RunConfig graphs = plain;
    graphs.graph_steps = 2;
    Run replayed(graphs, GetParam(), 1);
    replayed.trainer.run(record);
    EXPECT_EQ(bytes_of(replayed.trainer.snapshot()), expected);
    TempDir dir;
    Run first(plain, GetParam(), 1);
    Recorder stopped;
    stopped.trainer = &first.trainer;
    stopped.stop_after = 7;
    EXPECT_FALSE(first.trainer.run(stopped));
    Run second(plain, GetParam(), 1);
    second.trainer.restore(loaded(first.trainer, dir));
    second.trainer.run(record);
    EXPECT_EQ(bytes_of(second.trainer.snapshot()), expected);
  }
}

TEST_P(Conditional, HalfPrecisionTrains) {
  if (GetParam() == Device::cpu) GTEST_SKIP() << "bf16 needs CUDA";
  for (const ModelKind kind :
       {ModelKind::mlp_ae, ModelKind::conv_ae, ModelKind::mlp_vae, ModelKind::conv_vae}) {
    RunConfig half = config(kind);
    half.precision = Precision::bf16;
    half.train.epochs = 6;
    Run run(half, GetParam(), 1);
    Recorder record;
    run.trainer.run(record);
    EXPECT_LT(record.epochs.back().test.loss, record.epochs.front().test.loss);
  }
}

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
