#include "models/presets_restore.h"

namespace elbo {
namespace {

// A plain autoencoder whose code is wide enough not to be what limits the result.
Preset restoring_preset(const char* name, const char* summary, const char* corrupt) {
  Preset preset;
  preset.name = name;
  preset.summary = summary;
  RunConfig& config = preset.config;
  config.preset = name;
  config.model.kind = ModelKind::mlp_ae;
  config.model.hidden = {512};
  config.model.latent_dim = 128;
  config.data.corrupt = corrupt;
  config.train.epochs = 5;
  return preset;
}

// Wider and longer than the others, as a hole has to be filled from all that is around it. Three squares an
// image in training give three times as much to learn from as the one that is to be filled.
Preset inpaint() {
  Preset preset = restoring_preset(
      "inpaint", "autoencoder that fills 7 x 7 holes; within one on MNIST: 14.5 dB, mean image 9.9",
      "square:7:3");
  RunConfig& config = preset.config;
  config.model.hidden = {1024, 1024};
  config.model.latent_dim = 256;
  config.train.epochs = 10;
  Schedule& rate = config.train.learning_rate;
  rate.kind = ScheduleKind::cosine;
  rate.base = 1e-3f;
  rate.start = 1e-5f;
  rate.steps = 4690;  // ten epochs of 60,000 images
  return preset;
}

}  // namespace

std::vector<Preset> restoring_presets() {
  return {
      inpaint(),
      restoring_preset("denoise", "autoencoder that removes noise; MNIST: 6.0 to 18.8 dB",
                       "gaussian:0.5"),
      restoring_preset("deblur", "autoencoder that undoes noise and blur; MNIST: 14.3 to 19.9 dB",
                       "gaussian:0.1,blur:2"),
      restoring_preset("super-resolution",
                       "autoencoder that doubles the resolution; MNIST: 18.3 to 22.1 dB",
                       "downsample:2"),
  };
}

}  // namespace elbo
