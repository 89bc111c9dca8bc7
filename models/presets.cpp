#include "kernels/error.h"
#include "models/presets_conv.h"
#include "models/presets_restore.h"

namespace elbo {
namespace {

// The protocol of pytorch/examples/vae: 784-400-20, ReLU, grey pixels as Bernoulli targets, Adam 1e-3,
// batch 128, 10 epochs. Everybody's first VAE, hence everybody's first comparison.
Preset mlp_mnist() {
  Preset preset;
  preset.name = "mlp-mnist";
  preset.summary = "784-400-20 VAE on MNIST, the pytorch/examples protocol: test -ELBO about 105.6";
  preset.config.preset = preset.name;
  return preset;
}

// Small enough for a first try without a GPU or a data set.
Preset sprites() {
  Preset preset;
  preset.name = "sprites";
  preset.summary =
      "VAE on procedural sprites drawn by the program itself; trains in minutes on a CPU";
  RunConfig& config = preset.config;
  config.preset = preset.name;
  config.model.hidden = {512, 512};
  config.model.latent_dim = 10;
  config.data.kind = DataKind::sprites;
  config.data.resolution = 32;
  config.data.train_samples = 100000;
  config.data.test_samples = 2000;
  config.train.batch_size = 128;
  config.train.epochs = 10;
  return preset;
}

}  // namespace

const std::vector<Preset>& presets() {
  static const std::vector<Preset> all = [] {
    std::vector<Preset> presets = {mlp_mnist(), sprites()};
    for (Preset& preset : convolutional_presets()) presets.push_back(std::move(preset));
    for (Preset& preset : restoring_presets()) presets.push_back(std::move(preset));
    return presets;
  }();
  return all;
}

const Preset& find_preset(const std::string& name) {
  std::string known;
  for (const Preset& preset : presets()) {
    if (preset.name == name) return preset;
    known += (known.empty() ? "" : ", ") + preset.name;
  }
  throw_error(ErrorCode::usage, "--preset ", name, " is unknown; expected one of: ", known);
}

}  // namespace elbo
