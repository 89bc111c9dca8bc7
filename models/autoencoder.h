// A network that encodes images into a latent and decodes it again.
//
// Parameter names are PyTorch's, so that a state_dict loads unchanged:
//   one hidden layer   fc1, fc21 (mu), fc22 (logvar), fc3, fc4: the names of pytorch/examples' VAE
//   otherwise          encoder.0, encoder.2, ... (as nn.Sequential counts, activations between),
//                      fc_mu, fc_logvar, decoder.0, decoder.2, ...
// A plain autoencoder has encoder.* up to and including the code, and no fc_mu, fc_logvar.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/ops/latent_op.h"
#include "engine/param_store.h"
#include "engine/tape.h"
#include "models/config.h"

namespace elbo {

// One fully connected layer of a model.
struct Linear {
  std::string label;  // for op names; must outlive the tape's runs
  ParamStore::Id weight = -1;
  ParamStore::Id bias = -1;
  Activation activation = Activation::identity;
};

class Autoencoder {
 public:
  // Registers the parameters; `image_size` is pixels x channels.
  Autoencoder(ParamStore& params, const ModelConfig& config, int64_t image_size);

  bool variational() const { return config_.kind == ModelKind::mlp_vae; }
  int64_t image_size() const { return image_size_; }
  int64_t latent_dim() const { return config_.latent_dim; }
  const ModelConfig& config() const { return config_; }
  ParamStore& params() const { return *params_; }

  // x [B, image_size] -> [mu | logvar] [B, 2 latent], or the code [B, latent] of a plain autoencoder.
  Tensor encode(Tape& tape, const Tensor& x) const;

  // x -> a sample of the posterior, its KL, and y, what the decoder's first layer makes of the sample.
  LatentBlock sample(Tape& tape, const Tensor& x, const NoiseSource& noise,
                     const RowWeight& kl_weight) const;

  // z [B, latent] -> what the likelihood makes of it (logits or means) [B, image_size].
  Tensor decode(Tape& tape, const Tensor& z) const;

  // The decoder from its layer number `first` on, then -log p(target | z) in nats per image as
  // likelihood_layer() returns it.
  Tensor decode_nll(Tape& tape, const Tensor& hidden, size_t first, const Tensor& target,
                    const RowWeight& weight) const;

  // The latent to decode without noise: the posterior mean, or the code itself.
  Tensor latent_mean(Tape& tape, const Tensor& encoded) const;

 private:
  Linear make_linear(const std::vector<std::string>& names, int64_t in, int64_t out_each,
                     Activation activation);
  Tensor run(Tape& tape, std::span<const Linear> layers, Tensor x) const;

  ParamStore* params_;
  ModelConfig config_;
  int64_t image_size_;
  std::vector<Linear> encoder_, decoder_;
  std::string block_label_;  // of the last encoder layer and the first decoder layer as one op
};

}  // namespace elbo
