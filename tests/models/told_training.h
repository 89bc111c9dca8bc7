// What tests of training models that are told something of an image share, label or attributes: the
// tests are written once, for a fixture that says what a batch is told and which images there are.
#pragma once

#include <string>
#include <vector>

#include "models/inference.h"
#include "tests/models/trainer_fixture.h"
#include "tests/support/device.h"
#include "tests/support/error_of.h"

namespace elbo::told_training_test {

using namespace trainer_test;

inline constexpr ModelKind kKinds[] = {ModelKind::mlp_vae, ModelKind::mlp_ae, ModelKind::conv_vae,
                                       ModelKind::conv_ae};

// For images of 6 x 4 pixels.
inline RunConfig told_config(ModelKind kind, Condition condition, int64_t values) {
  RunConfig config = tiny_config();
  config.data.kind = DataKind::images;
  config.model.kind = kind;
  config.model.latent_dim = 2;
  config.model.condition = condition;
  (condition == Condition::label ? config.model.classes : config.model.attributes) = values;
  config.model.encoder = {"conv 6 k4 s2 relu", "linear 16 relu"};
  config.model.decoder = {"linear flat relu", "convt image k4 s2"};
  config.train.learning_rate.base = 1e-2f;
  return config;
}

// A trainer with images of its own.
struct Trained {
  Context context;
  ImageData train, test;
  Trainer trainer;

  Trained(const RunConfig& config, Device device, const ImageSplit& train_images,
          const ImageSplit& test_images)
      : context({device, 0, ""}),
        train(ImageData::from_split(context, train_images)),
        test(ImageData::from_split(context, test_images)),
        trainer(context, config, train, &test) {}
};

class ToldTraining : public testing::TestWithParam<Device> {
 protected:
  void SetUp() override {
    if (GetParam() == Device::cuda && !why_no_cuda().empty()) GTEST_SKIP() << why_no_cuda();
  }

  virtual RunConfig config(ModelKind kind) const = 0;
  virtual ImageSplit images(int64_t count) const = 0;

  Trained trained(const RunConfig& run, Device device) const {
    return Trained(run, device, images(70), images(20));
  }
  Trained trained(const RunConfig& run) const { return trained(run, GetParam()); }

  // The epochs of a whole run.
  std::vector<EpochReport> epochs_of(const RunConfig& run, Device device) const {
    Trained session = trained(run, device);
    Recorder record;
    session.trainer.run(record);
    return record.epochs;
  }
  std::vector<EpochReport> epochs_of(const RunConfig& run) const {
    return epochs_of(run, GetParam());
  }

  // Returns the training loss of the first epoch; that of the last is below this share of it.
  double expect_loss_falls(const RunConfig& run, double share) const {
    const std::vector<EpochReport> epochs = epochs_of(run);
    const double first = epochs.front().train.loss;
    EXPECT_LT(epochs.back().train.loss, share * first);
    return first;
  }

  // A whole run, one as graphs of two steps, and one that was stopped and gone on with end alike.
  void expect_same_bits_of_graphs_and_resumes(RunConfig plain) const {
    plain.graph_steps = 0;
    Trained whole = trained(plain);
    Recorder record;
    whole.trainer.run(record);
    const auto expected = bytes_of(whole.trainer.snapshot());
    RunConfig graphs = plain;
    graphs.graph_steps = 2;
    Trained replayed = trained(graphs);
    replayed.trainer.run(record);
    EXPECT_EQ(bytes_of(replayed.trainer.snapshot()), expected);
    TempDir dir;
    Trained first = trained(plain);
    Recorder stopped;
    stopped.trainer = &first.trainer;
    stopped.stop_after = 7;
    EXPECT_FALSE(first.trainer.run(stopped));
    Trained second = trained(plain);
    second.trainer.restore(loaded(first.trainer, dir));
    second.trainer.run(record);
    EXPECT_EQ(bytes_of(second.trainer.snapshot()), expected);
  }

  void expect_half_precision_trains() const {
    if (GetParam() == Device::cpu) GTEST_SKIP() << "bf16 needs CUDA";
    for (const ModelKind kind : kKinds) {
      RunConfig half = config(kind);
      half.precision = Precision::bf16;
      half.train.epochs = 6;
      const std::vector<EpochReport> epochs = epochs_of(half);
      EXPECT_LT(epochs.back().test.loss, epochs.front().test.loss);
    }
  }

  void expect_bounds_train(const std::vector<Bound>& bounds, int64_t epochs) const {
    for (const Bound bound : bounds) {
      RunConfig run = config(ModelKind::mlp_vae);
      run.train.objective.bound = bound;
      run.train.objective.samples = bound == Bound::tcvae ? 1 : 3;
      run.train.epochs = epochs;
      const std::vector<EpochReport> reports = epochs_of(run);
      EXPECT_LT(reports.back().test.loss, reports.front().test.loss)
          << "bound " << static_cast<int>(bound);
    }
  }

  void expect_contractive_is_refused() const {
    RunConfig contractive = config(ModelKind::mlp_ae);
    contractive.train.objective.contractive = 0.1f;
    EXPECT_EQ(error_of([&] { trained(contractive); }),
              "2: train.objective.contractive is for encoders that see images alone; leave out "
              "--condition");
  }
};

}  // namespace elbo::told_training_test
