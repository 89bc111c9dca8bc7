// Every likelihood in both kinds of network: training lowers the loss, on every device and in bf16.
#include <gtest/gtest.h>

#include <cmath>

#include "models/inference.h"
#include "tests/models/likelihood_fixture.h"
#include "tests/support/device.h"
#include "tests/support/error_of.h"

namespace elbo {
namespace {

using likelihood_test::losses_of;
using likelihood_test::toy_config;
using likelihood_test::toy_images;
using likelihood_test::ToySession;
using trainer_test::bytes_of;
using trainer_test::loaded;
using trainer_test::Recorder;

std::string test_name(Likelihood likelihood, bool convolutional) {
  std::string name = concat(likelihood_name(likelihood), convolutional ? "_conv" : "_mlp");
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

class LikelihoodTraining : public testing::TestWithParam<std::tuple<Likelihood, bool>> {
 protected:
  RunConfig config() const { return toy_config(std::get<0>(GetParam()), std::get<1>(GetParam())); }
};

TEST_P(LikelihoodTraining, FiftyStepsLowerTheLoss) {
  const std::vector<double> losses = losses_of(config(), Device::cpu);
  ASSERT_EQ(losses.size(), 10u);
  for (const double loss : losses) EXPECT_TRUE(std::isfinite(loss));
  // Nats per image of 192 values. All fall by more than four; noise of a batch is below one.
  EXPECT_LT(losses.back(), losses.front() - 4);
  EXPECT_LT(losses.back(), losses[4]);
}

TEST_P(LikelihoodTraining, CudaTakesTheStepsOfTheCpu) {
  if (!why_no_cuda().empty()) GTEST_SKIP() << why_no_cuda();
  RunConfig few = config();
  few.train.max_steps = 4;
  few.output.log_interval = 2;
  const std::vector<double> cpu = losses_of(few, Device::cpu), cuda = losses_of(few, Device::cuda);
  ASSERT_EQ(cpu.size(), cuda.size());
  // A few steps of rounding, which Adam makes larger where gradients are near zero.
  for (size_t i = 0; i < cpu.size(); ++i) EXPECT_NEAR(cuda[i], cpu[i], 2e-4 * std::abs(cpu[i]));
  few.precision = Precision::bf16;
  const std::vector<double> bf16 = losses_of(few, Device::cuda);
  // Outputs are rounded to 8 bits; densities with small scales feel it most.
  for (size_t i = 0; i < cpu.size(); ++i) {
    EXPECT_NEAR(bf16[i], cpu[i], 0.02 * std::abs(cpu[i]) + 3) << i;
  }
}

TEST_P(LikelihoodTraining, PicturesAreImagesAndAResumeGoesOnBitForBit) {
  RunConfig short_run = config();
  short_run.train.max_steps = 8;
  ToySession whole(short_run), first(short_run), second(short_run);
  Recorder recorder, stopped;
  whole.trainer.run(recorder);
  stopped.trainer = &first.trainer;
  stopped.stop_after = 3;
  first.trainer.run(stopped);
  const TempDir dir;
  second.trainer.restore(loaded(first.trainer, dir));
  second.trainer.run(recorder);
  EXPECT_EQ(bytes_of(second.trainer.snapshot()), bytes_of(whole.trainer.snapshot()));

  Inference inference(whole.context, whole.trainer.model());
  const std::vector<float> pictures = inference.decode(inference.prior_latents(3, 1));
  ASSERT_EQ(pictures.size(), 3u * 192u);
  for (const float value : pictures) EXPECT_TRUE(value >= 0 && value <= 1);
}

INSTANTIATE_TEST_SUITE_P(All, LikelihoodTraining,
                         testing::Combine(testing::ValuesIn(kLikelihoods), testing::Bool()),
                         [](const auto& info) {
                           return test_name(std::get<0>(info.param), std::get<1>(info.param));
                         });

// Where the mean of p(x | z) is: two outputs per value lie as [first of a pixel's channels |
// second].
TEST(OutputToPictures, TakesTheMeanOfEachPixelsChannels) {
  ModelConfig config;
  config.likelihood = Likelihood::gaussian_diagonal;
  const ImageSize image{1, 2, 3};
  const std::vector<float> output = {0.1f, 0.2f, 0.3f, 9, 9, 9, 0.4f, -1.0f, 2.0f, 9, 9, 9};
  EXPECT_EQ(output_to_pictures(config, image, output),
            (std::vector<float>{0.1f, 0.2f, 0.3f, 0.4f, 0.0f, 1.0f}));
  config.likelihood = Likelihood::continuous_bernoulli;
  EXPECT_EQ(output_to_pictures(config, {1, 1, 1}, {0.0f}), (std::vector<float>{0.5f}));
  config.likelihood = Likelihood::beta;
  const std::vector<float> even = output_to_pictures(config, {1, 1, 1}, {2.0f, 2.0f});
  ASSERT_EQ(even.size(), 1u);
  EXPECT_NEAR(even[0], 0.5f, 1e-6f);
}

// The batch's variance is that under which it is most likely. Where the weights stand still the
// running one goes to their mean, and evaluation by it gives what training does.
TEST(OptimalVariance, IsTheBestOneAndEvaluationUsesTheRunningOne) {
  RunConfig config = toy_config(Likelihood::gaussian_optimal, false);
  config.train.learning_rate.base = 0;
  config.train.max_steps = 60;  // what is left of the start is below 0.9^60 = 0.2 %
  ToySession optimal(config);
  Recorder recorder;
  optimal.trainer.run(recorder);
  const double trained = recorder.reports.back().window.recon;
  // Nats per image; batches of 16 differ by a few.
  EXPECT_NEAR(optimal.trainer.evaluate(optimal.train).recon, trained, 5);
  config.model.likelihood = Likelihood::gaussian_learned;  // stands still at e^-2
  ToySession fixed(config);
  EXPECT_GT(fixed.trainer.evaluate(fixed.train).recon, trained + 10);
}

}  // namespace
}  // namespace elbo
