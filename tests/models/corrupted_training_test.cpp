// Training on corrupted inputs: the target stays clean, and graphs, resumes and the cutting into batches
// change no bit.
#include <gtest/gtest.h>

#include <set>

#include "models/corruption_text.h"
#include "models/inference.h"
#include "tests/models/trainer_fixture.h"
#include "tests/support/device.h"

namespace elbo {
namespace {

using namespace trainer_test;

const char* const kChain = "gaussian:0.3,square:3:2,blur:0.7,motion:3,downsample:2,mask:0.1";

class CorruptedTraining : public testing::TestWithParam<Device> {
 protected:
  void SetUp() override {
    if (GetParam() == Device::cuda && !why_no_cuda().empty()) GTEST_SKIP() << why_no_cuda();
  }

  // 70 images of 6 x 9 x 3: a tail batch of 6 behind four of 16.
  static ImageSplit images(int64_t count) {
    ImageSplit split;
    split.count = count;
    split.height = 6;
    split.width = 9;
    split.channels = 3;
    for (int64_t i = 0; i < count * split.image_bytes(); ++i)
      split.file.push_back(static_cast<std::byte>(i * i % 253));
    return split;
  }

  struct Corrupted {
    Context context;
    ImageData train, test;
    Trainer trainer;
    Corrupted(const RunConfig& config, Device device, const std::string& chain = kChain,
              bool flip = true)
        : context({device, 0, ""}),
          train(ImageData::from_split(context, images(70), 0, {flip, false, links(chain)})),
          test(ImageData::from_split(context, images(20), 0, {false, false, links(chain)})),
          trainer(context, config, train, &test) {}
    static std::vector<Corruption> links(const std::string& chain) {
      return parse_corruptions(chain);
    }
  };

  struct Result {
    std::vector<std::byte> bytes;
    std::vector<double> losses;
  };
  Result train(const RunConfig& config, const std::string& chain = kChain) const {
    Corrupted run(config, GetParam(), chain);
    Recorder record;
    run.trainer.run(record);
    Result result{bytes_of(run.trainer.snapshot()), {}};
    for (const EpochReport& report : record.epochs) result.losses.push_back(report.test.loss);
    return result;
  }

  static RunConfig config() {
    RunConfig config = tiny_config();
    config.data.kind = DataKind::images;
    config.model.likelihood = Likelihood::gaussian;
    return config;
  }
};

TEST_P(CorruptedTraining, InputIsCorruptedAndTargetIsNot) {
  const RunConfig tiny = config();
  Corrupted clean(tiny, GetParam(), ""), noisy(tiny, GetParam(), "gaussian:0.5");
  Inference see_clean(clean.context, clean.trainer.model());
  Inference see_noisy(noisy.context, noisy.trainer.model());
  const std::vector<float> x = see_clean.images(clean.test, 0, 20, Binarise::none, 3);
  EXPECT_EQ(see_clean.inputs(clean.test, 0, 20, Binarise::none, 3), x);
  EXPECT_EQ(see_noisy.images(noisy.test, 0, 20, Binarise::none, 3), x);
  const std::vector<float> input = see_noisy.inputs(noisy.test, 0, 20, Binarise::none, 3);
  double squares = 0;
  for (size_t i = 0; i < x.size(); ++i) squares += (input[i] - x[i]) * (input[i] - x[i]);
  // Four standard errors of 3240 draws.
  EXPECT_NEAR(squares / static_cast<double>(x.size()), 0.25, 0.025);
  // The same again, however it is cut; another seed is other noise.
  const std::vector<float> some = see_noisy.inputs(noisy.test, 5, 3, Binarise::none, 3);
  EXPECT_TRUE(std::equal(some.begin(), some.end(), input.begin() + 5 * 162));
  EXPECT_NE(see_noisy.inputs(noisy.test, 0, 20, Binarise::none, 4), input);
}

TEST_P(CorruptedTraining, StepsOfTrainingDrawAfresh) {
  // The same images and weights in all ten steps: only the noise can change the loss.
  RunConfig still = config();
  still.train.learning_rate.base = 0.0f;
  still.train.overfit_batch = true;
  still.model.kind = ModelKind::mlp_ae;
  still.output.log_interval = 1;
  const auto distinct_losses = [&](const std::string& chain) {
    Corrupted run(still, GetParam(), chain, false);
    Recorder record;
    run.trainer.run(record);
    std::set<double> losses;
    for (const StepReport& report : record.reports) losses.insert(report.window.loss);
    return losses.size();
  };
  EXPECT_EQ(distinct_losses("square:4"), 10u);
  EXPECT_EQ(distinct_losses("gaussian:0.5,blur:1"), 10u);
  EXPECT_EQ(distinct_losses("blur:1,downsample:2"), 1u);  // no noise in it
}

TEST_P(CorruptedTraining, GraphsGiveTheBitsOfPlainLaunches) {
  RunConfig plain = config();
  plain.graph_steps = 0;
  const Result expected = train(plain);
  EXPECT_NE(train(plain, "").bytes, expected.bytes);
  RunConfig graphs = plain;
  graphs.graph_steps = 2;
  const Result found = train(graphs);
  EXPECT_EQ(found.bytes, expected.bytes);
  EXPECT_EQ(found.losses, expected.losses);
  graphs.overlap_launches = true;
  EXPECT_EQ(train(graphs).bytes, expected.bytes);
}

TEST_P(CorruptedTraining, AResumedRunHasTheBitsOfAnUninterruptedOne) {
  const RunConfig whole = config();
  const Result expected = train(whole);
  TempDir dir;
  Corrupted first(whole, GetParam());
  Recorder stopped;
  stopped.trainer = &first.trainer;
  stopped.stop_after = 7;
  EXPECT_FALSE(first.trainer.run(stopped));
  Corrupted second(whole, GetParam());
  second.trainer.restore(loaded(first.trainer, dir));
  Recorder record;
  EXPECT_TRUE(second.trainer.run(record));
  EXPECT_EQ(bytes_of(second.trainer.snapshot()), expected.bytes);
  EXPECT_EQ(record.epochs.back().test.loss, expected.losses.back());
}

TEST_P(CorruptedTraining, HalfPrecisionSeesTheRoundedInput) {
  if (GetParam() == Device::cpu) GTEST_SKIP() << "bf16 needs CUDA";
  RunConfig half = config();
  half.precision = Precision::bf16;
  half.train.epochs = 6;
  Corrupted run(half, GetParam());
  Recorder record;
  run.trainer.run(record);
  EXPECT_LT(record.epochs.back().test.loss, record.epochs.front().test.loss);
}

// Each corruption with an MLP and a convolutional network, plain and variational; on CUDA, which may be
// simulated, with one of the four.
TEST_P(CorruptedTraining, FiftyStepsLowerTheLoss) {
  const std::vector<ModelKind> kinds = {ModelKind::mlp_vae, ModelKind::conv_ae, ModelKind::mlp_ae,
                                        ModelKind::conv_vae};
  size_t turn = 0;
  for (const std::string chain : {"gaussian:0.3", "mask:0.3", "square:3", "salt-pepper:0.2",
                                  "blur:1", "motion:4:30", "downsample:2", "gaussian:0.1,blur:1"}) {
    const size_t only = turn++ % kinds.size();
    for (size_t i = 0; i < kinds.size(); ++i) {
      if (GetParam() == Device::cuda && i != only) continue;
      RunConfig short_run = config();
      short_run.model.kind = kinds[i];
      short_run.model.encoder = {"conv 4 k4 s2 relu", "linear 16 relu"};
      short_run.model.decoder = {"linear flat relu", "convt image k4 s2"};
      short_run.train.epochs = 10;
      short_run.output.eval_interval = 0;
      Corrupted run(short_run, GetParam(), chain);
      Recorder record;
      run.trainer.run(record);
      EXPECT_LT(record.epochs.back().train.recon, 0.98 * record.epochs.front().train.recon)
          << chain << ", model kind " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, CorruptedTraining, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
