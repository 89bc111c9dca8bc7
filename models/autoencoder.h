// A network that encodes images into a latent and decodes it again.
//
// Parameter names are PyTorch's, so that a state_dict loads unchanged:
//   one hidden layer   fc1, fc21 (mu), fc22 (logvar), fc3, fc4: the names of pytorch/examples' VAE
//   otherwise          encoder.0, encoder.2, ... (as nn.Sequential counts, activations between),
//                      fc_mu, fc_logvar, decoder.0, decoder.2, ...
// A plain autoencoder has encoder.* up to and including the code, and no fc_mu, fc_logvar. One
// whose latents are made of codes has the buffers codebook.* of engine/ops/quantise_op.h besides.
// One that is told attributes has the buffers attributes.mean and attributes.deviation.
// A VampPrior has pseudo_inputs. A classifier has classifier.0, classifier.2, ...: layers like the encoder's, and one more to the
// classes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/ops/latent_op.h"
#include "engine/ops/quantise_op.h"
#include "engine/param_store.h"
#include "engine/tape.h"
#include "models/config.h"
#include "models/likelihood.h"
#include "models/network.h"

namespace elbo {

// What attributes are standardised by; a deviation of 0 leaves an attribute out.
struct AttributeScale {
  std::vector<double> mean, deviation;
};

class Autoencoder {
 public:
  // Registers the parameters.
  Autoencoder(ParamStore& params, const ModelConfig& config, const ImageSize& image);

  bool variational() const { return config_.variational(); }
  const ImageSize& image() const { return image_; }
  int64_t image_size() const { return image_.size(); }                  // pixels x channels
  int64_t output_size() const { return likelihood_->output().size(); }  // of decode(), per image
  int64_t latent_dim() const { return config_.latent_dim; }
  const ModelConfig& config() const {
    return config_;
  }  // latent_dim is that of the latent's picture
  ParamStore& params() const { return *params_; }
  const Network& encoder() const { return *encoder_; }
  const Network& decoder() const { return *decoder_; }
  const PixelLikelihood& likelihood() const { return *likelihood_; }
  const LayerWeights& heads() const {
    return heads_;
  }  // of mu and logvar; no weight if there are none

  // Encoder and decoder are told a label, int32 [B], or attributes, f32 [B, attributes] in the
  // data's units: the encoder as planes beside the image's channels, one-hot or standardised (an MLP: as
  // values beside the pixels'), the decoder as values beside the latent's.
  bool conditional() const { return config_.conditional(); }
  bool knows_labels() const { return config_.condition == Condition::label; }
  bool knows_attributes() const { return config_.condition == Condition::attributes; }

  // Of a model that is told attributes. To be set before the first step, and loaded with weights.
  void set_attribute_scale(const AttributeScale& scale);
  AttributeScale attribute_scale() const;

  // Whether there is a classifier, and its logits of x [B, image_size]: [B, classes].
  bool classifies() const { return classifier_ != nullptr; }
  Tensor classify(Tape& tape, const Tensor& x) const;
  const Network* classifier() const { return classifier_.get(); }

  // The latent is put together from codes of a codebook, so many for each image.
  bool quantised() const { return config_.quantised(); }
  const Codebook& codebook() const { return codebook_; }
  int64_t codes_per_image() const { return config_.latent_dim / codebook_.dim; }

  // `told` in what follows are the labels or attributes of a conditional model, and no tensor for
  // others. Latents may be several in a row for each.

  // x [B, image_size] -> [mu | logvar] [B, 2 latent], or the code [B, latent] of a plain
  // autoencoder. With a codebook it is what the codes nearest to it make; encode_freely() is what
  // they are nearest to.
  Tensor encode(Tape& tape, const Tensor& x, const Tensor& told = {}) const;

  Tensor encode_freely(Tape& tape, const Tensor& x, const Tensor& told = {}) const;
  // Latents [B, latent] of a model with a codebook by their nearest codes.
  QuantisedCode quantise(Tape& tape, const Tensor& latent,
                         const CodebookLearning* learning = nullptr) const;

  // The code of a plain autoencoder, and how fast it moves with x: |d code / d x|_F^2 of each image, [B].
  // Exact for an encoder of one linear layer. Otherwise Hutchinson's estimate: the squared length of the
  // Jacobian times `tangent`, standard normal numbers of x's shape, whose mean it is.
  struct MovingCode {
    Tensor code, jacobian_norm;
  };
  MovingCode encode_moving(Tape& tape, const Tensor& x, const NoiseSource& tangent) const;

  // Of a VampPrior: [mu | logvar] of its components, the posteriors of the pseudo-inputs
  // sigmoid(pseudo_inputs), [K, 2 latent].
  bool has_learned_prior() const { return pseudo_inputs_ >= 0; }
  Tensor prior_components(Tape& tape) const;
  // log p(z) in nats, [B].
  Tensor log_prior(Tape& tape, const Tensor& z) const;

  // x -> a sample of the posterior, its KL, and y, what the decoder's first layer makes of the sample.
  LatentBlock sample(Tape& tape, const Tensor& x, const NoiseSource& noise,
                     const RowWeight& kl_weight, const Tensor& told = {}) const;

  // z [B, latent] -> what the likelihood takes: logits, means, ... [B, output_size].
  Tensor decode(Tape& tape, const Tensor& z, const Tensor& told = {}) const;

  // The decoder from its layer number `first` on, then -log p(target | z) in nats per image as
  // likelihood_layer() returns it. `told` matters where the decoder begins, with first = 0.
  Tensor decode_nll(Tape& tape, const Tensor& from, size_t first, const Tensor& target,
                    const RowWeight& weight, const Tensor& told = {}) const;

  // The latent to decode without noise: the posterior mean, or the code itself.
  Tensor latent_mean(Tape& tape, const Tensor& encoded) const;

 private:
  Tensor features(Tape& tape, const Tensor& x, const Tensor& told) const;
  Tensor with_condition(Tape& tape, const Tensor& x, const Tensor& told) const;
  Tensor heads(Tape& tape, const Tensor& features) const;
  Tensor split_statistics(Tape& tape, const Tensor& picture) const;
  bool latent_is_picture() const { return config_.latent_channels > 0; }

  ParamStore* params_;
  ModelConfig config_;
  ImageSize image_;
  std::unique_ptr<Network> encoder_, decoder_;
  std::unique_ptr<Network> classifier_;  // null: none
  std::unique_ptr<PixelLikelihood> likelihood_;
  LayerState features_;  // what the encoder ends with
  LayerWeights heads_;   // variational: mu and logvar
  Codebook codebook_;
  ParamStore::Id pseudo_inputs_ = -1;
  BufferStore::Id attribute_mean_ = -1, attribute_deviation_ = -1;
  std::string block_label_;  // of the heads and the decoder's first layer as one op
};

}  // namespace elbo
