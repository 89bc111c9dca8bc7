// Convolutional autoencoders of every kind of layer, as a whole: gradients, training, resuming.
#include <gtest/gtest.h>

#include "tests/models/trainer_fixture.h"
#include "tests/support/device.h"
#include "tests/support/op_harness.h"

namespace elbo {
namespace {

using trainer_test::bytes_of;
using trainer_test::loaded;
using trainer_test::Recorder;
using trainer_test::Session;

struct Kind {
  const char* name;
  ModelConfig model;
};

ModelConfig conv_config(std::vector<std::string> encoder, std::vector<std::string> decoder) {
  ModelConfig config;
  config.kind = ModelKind::conv_vae;
  config.latent_dim = 4;
  config.encoder = std::move(encoder);
  config.decoder = std::move(decoder);
  return config;
}

// For 12 x 12 sprites. Together they have every kind of layer, both forms of latent, both of kind.
std::vector<Kind> kinds() {
  std::vector<Kind> all;
  all.push_back({"plain", conv_config({"conv 6 k4 s2 relu", "conv 8 k3 s2 silu", "linear 9 tanh"},
                                      {"linear 9 relu", "linear flat relu", "convt 6 k3 s2 relu",
                                       "convt image k4 s2"})});
  all.push_back(
      {"batch_norm", conv_config({"conv 6 k3 s2 bn leaky_relu", "conv 8 k3 s2 bn leaky_relu"},
                                 {"linear flat", "convt 6 k3 s2 bn leaky_relu",
                                  "convt 6 k3 s2 bn leaky_relu", "conv image k3"})});
  all.push_back({"resize", conv_config({"conv 6 k3 gn2 gelu", "avgpool k2", "conv 8 k3 s2 relu"},
                                       {"linear flat", "upsample 2", "conv 6 k3 relu",
                                        "upsample 2 bilinear", "conv image k3"})});
  Kind picture{
      "picture",
      conv_config({"conv 8 k4 s2", "res 8 gn4", "attention gn2", "norm gn4 silu", "conv 4 k3"},
                  {"conv 8 k3", "res 6 gn2", "norm gn2 silu", "convt image k4 s2"})};
  picture.model.latent_channels = 2;
  all.push_back(picture);
  Kind plain_ae = all.front();
  plain_ae.name = "not_variational";
  plain_ae.model.kind = ModelKind::conv_ae;
  all.push_back(plain_ae);
  return all;
}

RunConfig config_of(const ModelConfig& model) {
  RunConfig config = trainer_test::tiny_config();
  config.model = model;
  config.train.epochs = 12;
  config.train.learning_rate.base = 3e-3f;
  return config;
}

class ConvAutoencoderTest : public testing::TestWithParam<std::tuple<size_t, Device>> {
 protected:
  void SetUp() override {
    if (device() == Device::cuda && !why_no_cuda().empty()) GTEST_SKIP() << why_no_cuda();
  }
  ModelConfig model() const { return kinds()[std::get<0>(GetParam())].model; }
  Device device() const { return std::get<1>(GetParam()); }
};

TEST_P(ConvAutoencoderTest, TrainsAndResumesBitForBit) {
  RunConfig config = config_of(model());
  if (device() == Device::cuda) config.train.epochs = 2;
  Session whole(config, device());
  const LossMeans before = whole.trainer.evaluate(whole.test);
  Recorder recorder;
  ASSERT_TRUE(whole.trainer.run(recorder));
  EXPECT_LT(whole.trainer.evaluate(whole.test).loss, before.loss);

  Session first(config, device());
  Recorder stopped;
  stopped.trainer = &first.trainer;
  stopped.stop_after = 7;
  EXPECT_FALSE(first.trainer.run(stopped));
  const TempDir dir;
  Session second(config, device());
  second.trainer.restore(loaded(first.trainer, dir));
  Recorder rest;
  ASSERT_TRUE(second.trainer.run(rest));
  EXPECT_EQ(bytes_of(second.trainer.snapshot()), bytes_of(whole.trainer.snapshot()));
}

INSTANTIATE_TEST_SUITE_P(Kinds, ConvAutoencoderTest,
                         testing::Combine(testing::Range<size_t>(0, kinds().size()),
                                          testing::ValuesIn(available_devices())),
                         [](const auto& info) {
                           return std::string(kinds()[std::get<0>(info.param)].name) +
                                  (std::get<1>(info.param) == Device::cuda ? "_cuda" : "_cpu");
                         });

}  // namespace
}  // namespace elbo
