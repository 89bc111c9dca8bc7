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
      "VAE on 64 x 64 sprites drawn by the program itself; the network of beta-VAE work, beta 1",
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

// The convolutional encoder and decoder of the MNIST benchmark in pythae (Chadebec et al. 2022,
// arXiv:2206.08309).
Preset conv_mnist() {
  Preset preset = conv_preset(
      "conv-mnist", "large convolutional VAE for 28 x 28 images, as in pythae's MNIST benchmark",
      {"conv 128 k4 s2 bn relu", "conv 256 k4 s2 bn relu", "conv 512 k4 s2 bn relu",
       "conv 1024 k4 s2 bn relu"},
      {"linear 16384", "reshape 1024x4x4", "convt 512 k3 s2 bn relu", "convt 256 k3 s2 bn relu",
       "convt image k3 s2"},
      16);
  preset.config.train.batch_size = 100;
  preset.config.train.learning_rate.base = 1e-4f;
  return preset;
}

// VanillaVAE of PyTorch-VAE (Subramanian 2020), whose tanh and [-1, 1] here are a mean in [0, 1].
Preset vanilla64() {
  Preset preset = conv_preset(
      "vanilla64", "batch-normalised VAE for 64 x 64 photographs, as PyTorch-VAE's VanillaVAE",
      {"conv 32 k3 s2 bn leaky_relu", "conv 64 k3 s2 bn leaky_relu", "conv 128 k3 s2 bn leaky_relu",
       "conv 256 k3 s2 bn leaky_relu", "conv 512 k3 s2 bn leaky_relu"},
      {"linear flat", "convt 256 k3 s2 bn leaky_relu", "convt 128 k3 s2 bn leaky_relu",
       "convt 64 k3 s2 bn leaky_relu", "convt 32 k3 s2 bn leaky_relu",
       "convt 32 k3 s2 bn leaky_relu", "conv image k3"},
      128);
  RunConfig& config = preset.config;
  config.model.likelihood = Likelihood::gaussian;
  config.train.batch_size = 64;
  config.train.learning_rate.base = 5e-3f;
  return preset;
}

// The network of conv32 without sampling: what lectures compare a VAE with.
Preset conv_ae() {
  Preset preset = conv32();
  preset.name = preset.config.preset = "conv-ae";
  preset.summary = "plain convolutional autoencoder with the network of conv32";
  preset.config.model.kind = ModelKind::conv_ae;
  preset.config.model.latent_dim = 32;
  return preset;
}

// The KL autoencoder of latent diffusion (Rombach et al. 2021, arXiv:2112.10752), f = 8, narrower: 64, 128,
// 256, 256 channels.
Preset klae128() {
  Preset preset = conv_preset(
      "klae128", "KL autoencoder of latent diffusion for 128 x 128: an eighth as wide, 4 channels",
      {"conv 64 k3", "res 64", "conv 64 k3 s2", "res 128", "conv 128 k3 s2", "res 256",
       "conv 256 k3 s2", "res 256", "res 256", "attention", "res 256", "norm gn32 silu",
       "conv 8 k3"},
      {"conv 256 k3", "res 256",     "attention",   "res 256",        "res 256",
       "res 256",     "upsample 2",  "conv 256 k3", "res 256",        "res 256",
       "upsample 2",  "conv 256 k3", "res 128",     "res 128",        "upsample 2",
       "conv 128 k3", "res 64",      "res 64",      "norm gn32 silu", "conv image k3"},
      0);
  RunConfig& config = preset.config;
  config.model.latent_dim = 1;  // follows from the picture
  config.model.latent_channels = 4;
  config.model.likelihood = Likelihood::gaussian;
  config.train.batch_size = 32;
  config.train.learning_rate.base = 1e-4f;
  config.train.beta = 1e-2f;
  return preset;
}

// VQ-VAE (van den Oord et al. 2017, arXiv:1711.00937), with the network cut down to what digits
// need: 49 codes of 7 bits, 43 bytes an image.
Preset vq_mnist() {
  Preset preset = conv_preset(
      "vq-mnist", "VQ-VAE for 28 x 28 images: 7 x 7 codes out of 128, 43 bytes an image",
      {"conv 32 k4 s2 relu", "conv 64 k4 s2 relu", "conv 64 k3 relu", "conv 16 k1"},
      {"conv 64 k3 relu", "convt 32 k4 s2 relu", "convt image k4 s2"}, 1);
  ModelConfig& model = preset.config.model;
  model.kind = ModelKind::conv_ae;
  model.latent_channels = 16;  // latent_dim follows from the picture
  model.codebook = 128;
  return preset;
}

}  // namespace

std::vector<Preset> convolutional_presets() {
  return {conv32(), conv_mnist(), burgess64(), vanilla64(), klae128(), conv_ae(), vq_mnist()};
}

}  // namespace elbo
