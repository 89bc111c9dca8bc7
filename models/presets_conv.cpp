#include "models/presets_conv.h"

namespace elbo {
namespace {

Preset conv_preset(const char* name, const char* summary, std::vector<std::string> encoder,
                   std::vector<std::string> decoder, int64_t latent_dim) {
  Preset preset;
  preset.name = name;
  preset.summary = summary;
  RunConfig& config = preset.config;
  config.preset = name;
  config.model.kind = ModelKind::conv_vae;
  config.model.encoder = std::move(encoder);
  config.model.decoder = std::move(decoder);
  config.model.latent_dim = latent_dim;
  return preset;
}

// Small enough for a CPU. The channels double as in DCGAN; no normalisation.
Preset conv32() {
  Preset preset = conv_preset(
      "conv32", "small convolutional VAE for images of about 32 x 32: CIFAR, SVHN, MNIST",
      {"conv 32 k4 s2 relu", "conv 64 k4 s2 relu", "conv 128 k4 s2 relu"},
      {"linear flat relu", "convt 64 k4 s2 relu", "convt 32 k4 s2 relu", "convt image k4 s2"}, 128);
  return preset;
}

// Burgess et al. 2018, arXiv:1804.03599, appendix A: the network of most work on disentangling, here with
// learning rate and batch of Higgins et al. 2017.
Preset burgess64() {
  Preset preset = conv_preset(
      "burgess64",
      "beta-VAE on 64 x 64 sprites drawn by the program itself; the disentangling network",
      {"conv 32 k4 s2 relu", "conv 32 k4 s2 relu", "conv 64 k4 s2 relu", "conv 64 k4 s2 relu",
       "linear 256 relu"},
      {"linear 256 relu", "linear flat relu", "convt 64 k4 s2 relu", "convt 32 k4 s2 relu",
       "convt 32 k4 s2 relu", "convt image k4 s2"},
      10);
  RunConfig& config = preset.config;
  config.data.kind = DataKind::sprites;
  config.data.resolution = 64;
  config.data.test_samples = 2000;
  config.train.batch_size = 64;
  config.train.learning_rate.base = 5e-4f;
  return preset;
}

}  // namespace

std::vector<Preset> convolutional_presets() { return {conv32(), burgess64()}; }

}  // namespace elbo
