// Models that are told attributes of an image: whose numbers a batch has, what they are standardised
// by, and that pictures follow them.
#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "engine/io/hold_out.h"
#include "kernels/sprites.h"
#include "tests/models/told_training.h"

namespace elbo {
namespace {

using namespace told_training_test;

constexpr int64_t kAttributes = 3;

// 6 x 4 pixels. The first attribute is the row of a white line, far from 0 and 1; the second never
// varies; the third counts the images.
ImageSplit lines(int64_t count, float scale = 1) {
  ImageSplit split;
  split.count = count;
  split.height = 6;
  split.width = 4;
  split.attribute_names = {"row", "constant", "number"};
  for (int64_t i = 0; i < count; ++i) {
    const int64_t row = 5 * i % 6;
    split.attributes.push_back(scale * (100 + 10 * static_cast<float>(row)));
    split.attributes.push_back(0.1f);
    split.attributes.push_back(static_cast<float>(i));
    for (int64_t pixel = 0; pixel < 24; ++pixel) {
      const auto noise = static_cast<int>((i * 31 + pixel * 7) % 64);
      split.file.push_back(static_cast<std::byte>(pixel / 4 == row ? 255 - noise : noise));
    }
  }
  return split;
}

class Attributes : public ToldTraining {
 protected:
  RunConfig config(ModelKind kind) const override {
    return told_config(kind, Condition::attributes, kAttributes);
  }
  ImageSplit images(int64_t count) const override { return lines(count); }
  // Whose training images have other attributes than the test images.
  Trained trained_on_scaled(const RunConfig& run, float scale) const {
    return Trained(run, GetParam(), lines(70, scale), lines(20));
  }

  struct Batch {
    std::vector<float> input, attributes;
  };
  static Batch gathered(Context& context, const ImageData& data, const BatchOrder& order,
                        int64_t batch) {
    Tape tape(context);
    ImageBatch images;
    tape.run(1, [&](Tape& t) {
      images = data.gather(t, order, batch, Binarise::none, DType::f32, Condition::attributes);
      t.keep(images.input);
      t.keep(images.condition);
    });
    EXPECT_EQ(images.condition.shape.rank(), 2);
    Batch result{std::vector<float>(static_cast<size_t>(images.input.size())),
                 std::vector<float>(static_cast<size_t>(images.condition.size()))};
    context.download(result.input.data(), images.input.data, images.input.bytes());
    context.download(result.attributes.data(), images.condition.data, images.condition.bytes());
    return result;
  }
};

TEST_P(Attributes, StayWithTheirImages) {
  Context context({GetParam(), 0, ""});
  ImageSet set;
  set.train = lines(50);
  hold_out(set, 0.3);
  for (const ImageSplit* split : {&set.train, &set.test}) {
    for (const int64_t limit : {0, 11}) {
      for (const bool corrupts : {false, true}) {
        ImageChanges changes;
        if (corrupts) changes.corrupt = {{CorruptionKind::gaussian, 0.0f}};
        const ImageData data = ImageData::from_split(context, *split, limit, changes);
        BatchOrder order;
        order.first = 3;
        order.shuffle = true;
        const Batch batch = gathered(context, data, order, 9);
        bool in_order = true;
        for (size_t b = 0; b < 9; ++b) {
          const auto id = static_cast<int64_t>(batch.attributes[3 * b + 2]);
          in_order = in_order && batch.attributes[3 * b + 2] ==
                                     split->attributes[static_cast<size_t>((b + 3) * 3 + 2)];
          const ImageSplit all = lines(50);
          for (size_t a = 0; a < 3; ++a) {
            EXPECT_EQ(batch.attributes[3 * b + a], all.attributes[static_cast<size_t>(3 * id) + a]);
          }
          for (size_t p = 0; p < 24; ++p) {
            EXPECT_EQ(batch.input[24 * b + p],
                      static_cast<float>(all.pixels()[static_cast<size_t>(24 * id) + p]) / 255.0f);
          }
        }
        EXPECT_FALSE(in_order);
        EXPECT_EQ(data.attributes(2, 4), std::vector<float>(split->attributes.begin() + 6,
                                                            split->attributes.begin() + 18));
      }
    }
  }
}

TEST_P(Attributes, OfSpritesAreThoseOfTheirFactors) {
  Context context({GetParam(), 0, ""});
  const ImageData data = ImageData::sprites(8, 30, 1000, {}, {"size", "x"});
  EXPECT_EQ(data.attribute_names(), (std::vector<std::string>{"size", "x"}));
  EXPECT_EQ(ImageData::sprites(8, 3, 0).attribute_names(),
            (std::vector<std::string>{"x", "y", "size", "orientation"}));
  BatchOrder order;
  order.first = 4;
  order.shuffle = false;
  const Batch batch = gathered(context, data, order, 20);
  for (int64_t b = 0; b < 20; ++b) {
    const SpriteFactors factors = sprite_factors(sprite_of_item(0, 1004 + b));
    EXPECT_NEAR(batch.attributes[static_cast<size_t>(2 * b)], 0.5 + 0.1 * factors.scale, 1e-6);
    EXPECT_NEAR(batch.attributes[static_cast<size_t>(2 * b + 1)], factors.pos_x / 31.0, 1e-6);
  }
  EXPECT_EQ(data.attributes(4, 20), batch.attributes);
  EXPECT_EQ(
      error_of([&] { ImageData::sprites(8, 3, 0, {}, {"width"}); }),
      "4: sprites: there is no attribute \"width\", expected some of x, y, size, orientation");
}

TEST_P(Attributes, TheTrainingSetSaysWhatTheyAreStandardisedBy) {
  Trained run = trained(config(ModelKind::mlp_vae));
  const AttributeScale scale = run.trainer.model().attribute_scale();
  double mean = 0, squares = 0;
  for (int i = 0; i < 70; ++i) mean += (100 + 10 * (5 * i % 6)) / 70.0;
  for (int i = 0; i < 70; ++i) squares += std::pow(100 + 10 * (5 * i % 6) - mean, 2) / 70;
  EXPECT_NEAR(scale.mean[0], mean, 1e-4);
  EXPECT_NEAR(scale.deviation[0], std::sqrt(squares), 1e-5);
  EXPECT_EQ(scale.mean[1], 0.1f);
  EXPECT_EQ(scale.deviation[1], 0);
  EXPECT_EQ(scale.mean[2], 34.5);
  Recorder record;
  run.trainer.run(record);
  EXPECT_EQ(run.trainer.model().attribute_scale().mean, scale.mean);
  EXPECT_EQ(run.trainer.model().attribute_scale().deviation, scale.deviation);
}

TEST_P(Attributes, AFewStepsLowerTheLossAndDevicesAgree) {
  for (const ModelKind kind : kKinds) {
    RunConfig run = config(kind);
    run.train.epochs = 5;
    run.output.eval_interval = 0;
    const double first = expect_loss_falls(run, 0.95);
    // Rounding differs from the first step on and grows.
    EXPECT_NEAR(first, epochs_of(run, Device::cpu).front().train.loss, 1e-2);
  }
}

TEST_P(Attributes, GoWithCodesOfACodebook) {
  RunConfig run = config(ModelKind::mlp_ae);
  run.model.codebook = 8;
  run.model.code_size = 1;
  run.train.epochs = 6;
  const std::vector<EpochReport> epochs = epochs_of(run);
  EXPECT_LT(epochs.back().test.loss, epochs.front().test.loss);
}

TEST_P(Attributes, EveryBoundKnowsThem) { expect_bounds_train({Bound::iwae, Bound::tcvae}, 4); }

TEST_P(Attributes, GraphsAndResumesChangeNoBit) {
  for (const ModelKind kind : {ModelKind::mlp_vae, ModelKind::conv_vae})
    expect_same_bits_of_graphs_and_resumes(config(kind));
}

TEST_P(Attributes, TheScaleIsTheCheckpointsAndNotThatOfTheDataWhichHappensToBeThere) {
  for (const ModelKind kind : {ModelKind::mlp_vae, ModelKind::conv_vae}) {
    TempDir dir;
    Trained first = trained(config(kind)), other = trained_on_scaled(config(kind), 7);
    Recorder stopped;
    stopped.trainer = &first.trainer;
    stopped.stop_after = 7;
    EXPECT_FALSE(first.trainer.run(stopped));
    const AttributeScale scale = first.trainer.model().attribute_scale();
    EXPECT_NE(other.trainer.model().attribute_scale().mean, scale.mean);
    other.trainer.restore(loaded(first.trainer, dir));
    EXPECT_EQ(other.trainer.model().attribute_scale().mean, scale.mean);
    EXPECT_EQ(other.trainer.model().attribute_scale().deviation, scale.deviation);
  }
}

TEST_P(Attributes, HalfPrecisionTrains) { expect_half_precision_trains(); }

// Inference of a model with weights as they begin: what reaches the networks.
TEST_P(Attributes, OpenOnesAreTheRowsOwnOrTheMean) {
  for (const ModelKind kind : {ModelKind::mlp_vae, ModelKind::conv_vae}) {
    Trained run = trained(config(kind));
    Inference inference(run.context, run.trainer.model());
    const std::vector<float> latents = inference.prior_latents(2, 5), images(2 * 24, 0.5f);
    const auto rows = [](std::vector<float> values) {
      return Conditions::of_attributes(std::move(values));
    };
    const Conditions own = rows({120, 0.1f, 3, 140, 0.1f, 60});
    EXPECT_EQ(error_of([&] { inference.decode(latents); }),
              "2: the model is conditional: --attributes is missing, expected values of the 3 that "
              "it was trained with, like NAME=0.5 (data.attributes of its configuration)");
    const auto drawn = inference.decode(latents, own);
    const auto encoded = inference.encode(images, own).mean;
    EXPECT_NE(inference.decode(latents, rows({120, 0.1f, 3, 150, 0.1f, 60})), drawn);
    // What never varied says nothing.
    EXPECT_EQ(inference.decode(latents, rows({120, 9, 3, 140, -9, 60})), drawn);
    inference.set_attributes({std::nullopt, std::nullopt, 20.0f});
    EXPECT_EQ(inference.told_attributes(own, 2),
              (std::vector<float>{120, 0.1f, 20, 140, 0.1f, 20}));
    EXPECT_EQ(inference.decode(latents, own),
              inference.decode(latents, rows({120, 0.1f, 7, 140, 0.1f, 8})));
    EXPECT_NE(inference.decode(latents, own), drawn);
    EXPECT_EQ(inference.encode(images, own).mean, encoded);  // as what they are
    const auto mean = static_cast<float>(run.trainer.model().attribute_scale().mean[0]);
    EXPECT_EQ(inference.decode(latents), inference.decode(latents, rows({mean, 0, 0, mean, 0, 0})));
    EXPECT_EQ(inference.conditions(run.test, 2, 3).attributes, run.test.attributes(2, 3));
    EXPECT_EQ(conditions_in_turn(inference, run.test, 45).attributes[3 * 44 + 2], 4);
  }
}

// The model is not to blame for what it is told.
TEST_P(Attributes, ValuesTooFarFromThoseOfTrainingAreNamed) {
  Trained run = trained_on_scaled(config(ModelKind::mlp_vae), 1e-12f);
  Inference inference(run.context, run.trainer.model());
  const std::vector<float> latents = inference.prior_latents(2, 5), images(2 * 24, 0.5f);
  const Conditions far =
      Conditions::of_attributes({1.2e-10f, 0.1f, 3, 1e30f, 0.1f, 3});  // deviations of 1e-11
  const std::string expected = "2: attribute 1 of the 3 that the model is told is 1e+30, too far";
  EXPECT_EQ(error_of([&] { inference.decode(latents, far); }).substr(0, expected.size()), expected);
  EXPECT_EQ(error_of([&] { inference.encode(images, far); }).substr(0, expected.size()), expected);
  inference.set_attributes({1e30f, std::nullopt, std::nullopt});
  EXPECT_EQ(error_of([&] { inference.decode(latents); }).substr(0, expected.size()), expected);
  // What never varied says nothing, whatever it is.
  inference.set_attributes({1.2e-10f, 1e30f, std::nullopt});
  EXPECT_EQ(error_of([&] { inference.decode(latents); }), "no error");
}

TEST_P(Attributes, ModelsThatCannotBeToldThemAreRefused) {
  const auto refusal = [&](const RunConfig& run) { return error_of([&] { trained(run); }); };
  RunConfig run = config(ModelKind::mlp_vae);
  run.model.attributes = 0;
  EXPECT_EQ(refusal(run),
            "2: model.attributes is 0; expected the number of attributes of a conditional model");
  run = config(ModelKind::conv_ae);
  run.model.latent_channels = 2;
  EXPECT_EQ(refusal(run),
            "2: model.condition is \"attributes\" and the latent is a picture; conditions go with "
            "latents that are vectors: set model.latent_channels to 0");
  run = config(ModelKind::mlp_vae);
  run.model.classifier = true;
  EXPECT_EQ(refusal(run),
            "2: model.classifier guesses the label that a conditional model is told; add "
            "--condition label");
  run = config(ModelKind::mlp_vae);
  run.model.prior = Prior::vamp;
  EXPECT_EQ(refusal(run),
            "2: model.prior vamp does not go with model.condition; leave one of them out");
  expect_contractive_is_refused();
}

// On the CPU: the CUDA half may be simulated. The latent is too small for what it need not hold.
TEST(AttributesDraw, TheSpriteStandsWhereItIsTold) {
  RunConfig config = tiny_config();
  config.model.hidden = {128};
  config.model.latent_dim = 1;
  config.model.condition = Condition::attributes;
  config.model.attributes = 4;
  config.data.resolution = 16;
  config.train.batch_size = 64;
  config.train.epochs = 12;
  config.train.learning_rate.base = 3e-3f;
  config.output.eval_interval = 0;
  Context context({Device::cpu, 0, ""});
  const ImageData train = ImageData::sprites(16, 3000, 0);
  Trainer trainer(context, config, train, nullptr);
  Recorder record;
  trainer.run(record);
  Inference inference(context, trainer.model());
  const auto centre = [&](std::vector<std::optional<float>> told) {
    inference.set_attributes(told);
    const std::vector<float> picture = inference.decode({0.0f});
    double sum = 0, x = 0, y = 0;
    for (int p = 0; p < 256; ++p) {
      const double v = picture[static_cast<size_t>(p)];
      sum += v, x += v * (p % 16 + 0.5) / 16, y += v * (p / 16 + 0.5) / 16;
    }
    return std::array{x / sum, y / sum, sum / 256};
  };
  for (const float at : {0.1f, 0.5f, 0.9f}) {
    const auto [x, across, area] = centre({at, 0.5f, 0.8f, 0.0f});
    EXPECT_NEAR(x, 0.22 + 0.56 * at, 0.06) << at;
    EXPECT_NEAR(across, 0.5, 0.06) << at;
    const auto [along, y, same] = centre({0.5f, at, 0.8f, 0.0f});
    EXPECT_NEAR(y, 0.22 + 0.56 * at, 0.06) << at;
    EXPECT_NEAR(along, 0.5, 0.06) << at;
  }
  // Areas grow with the square of the size.
  EXPECT_GT(centre({0.5f, 0.5f, 1.0f, 0.0f})[2], 2 * centre({0.5f, 0.5f, 0.5f, 0.0f})[2]);
}

INSTANTIATE_TEST_SUITE_P(Devices, Attributes, testing::ValuesIn(available_devices()), device_name);

}  // namespace
}  // namespace elbo
