// The network of a checkpoint, evaluated in double by code of its own.
//
// This is the auditor's licensed second copy: nothing here may call kernels/, engine/ops/ or
// formulas.h, or a mistake there would confirm itself. Only names of configuration values are shared.
//
// Tensors   by PyTorch's names, weight (out, in), F32 or F64:
//             fc1, fc21, fc22, fc3, fc4                                   one hidden layer
//             encoder.0, encoder.2, ..., fc_mu, fc_logvar, decoder.0, ... any other depth
//             encoder.0, ..., decoder.0, ...                              no latent heads: autoencoder
//             classifier.0, ...                                           besides, where labels are
//             guessed
//           pseudo_inputs [K, channels, height, width], of a VampPrior
//           log_variance [1] or running_variance [1], of a likelihood that has one
//           codebook.*, of a model whose latents are codes
//           attributes.mean, attributes.deviation [A], of a model that is told attributes
//           Convolutional networks take their layers from the configuration (models/audit_layers.h).
// Shapes    images [N, height * width * channels] in this order, latents [N, latent_dim], row-major
// Work      every multiplication of the network, by loops; one thread (callers split images over threads)
// Errors    ErrorCode::data naming file and tensor: missing, unknown, wrong type or shape
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/conv_geometry.h"
#include "models/audit_codebook.h"
#include "models/audit_layers.h"
#include "models/config.h"

namespace elbo {

using AuditLabels = std::vector<uint8_t>;

// What a conditional model is told of images: a label each, or attributes in the data's units.
struct AuditConditions {
  AuditLabels labels;
  AuditRows attributes;

  AuditConditions() = default;
  AuditConditions(std::initializer_list<uint8_t> of_labels) : labels(of_labels) {}
  AuditConditions(AuditLabels of_labels) : labels(std::move(of_labels)) {}
  AuditConditions(AuditLabels of_labels, AuditRows rows)
      : labels(std::move(of_labels)), attributes(std::move(rows)) {}
};

struct AuditPosterior {
  AuditRows mean;
  AuditRows logvar;  // bounded, so that variance = exp(logvar); empty for a plain autoencoder
  std::vector<int32_t> codes;  // of each piece of the latents; empty without a codebook
};

class AuditNet {
 public:
  // Depth and widths follow from the tensors; `file_name` is for messages.
  AuditNet(const SafetensorsView& weights, const std::string& file_name, Activation activation);
  // Of any kind; MLPs as above.
  AuditNet(const SafetensorsView& weights, const std::string& file_name, const ModelConfig& config,
           const ImageSize& image);

  bool variational() const { return variational_; }
  int64_t image_size() const { return image_.size(); }
  int64_t channels() const { return image_.channels; }
  int64_t outputs() const { return output_.channels / image_.channels; }  // per value of an image
  // Of all pixels, if the file has one: learned, or the running one of an optimal variance.
  const std::optional<double>& log_variance() const { return log_variance_; }
  int64_t latent_dim() const { return latent_dim_; }
  const AuditCodebook& codebook() const { return codebook_; }

  // Above 0: images and latents come with a label each, below it, or with so many attributes each.
  int64_t classes() const { return classes_; }
  int64_t attributes() const { return std::ssize(deviation_); }

  AuditPosterior encode(const AuditRows& images, const AuditConditions& told = {}) const;
  // The likeliest labels by q(y | x), of a network that has one.
  bool classifies() const { return !classifier_.empty(); }
  AuditLabels classify(const AuditRows& images) const;

  // log p(z) + D/2 log 2 pi in nats, of one latent: N(0, I), or with pseudo-inputs u_1, ..., u_K (a
  // VampPrior) (1/K) sum_k q(z | sigmoid(u_k)).
  double log_prior(const double* z) const;
  // z ~ p(z), [latent_dim].
  void draw_prior(std::mt19937_64& engine, double* z) const;
  bool has_learned_prior() const { return !prior_.mean.empty(); }
  // What the likelihood takes (models/audit_likelihood.h): [N, image_size * outputs].
  AuditRows decode(const AuditRows& latents, const AuditConditions& told = {}) const;

 private:
  void read_mlp(const SafetensorsView& weights, const std::string& file_name,
                Activation activation);
  void read_convolutional(const SafetensorsView& weights, const std::string& file_name,
                          const ModelConfig& config, const ImageSize& image);
  void read_likelihood(AuditReader& reader, const std::string& file_name);
  void check_chain(const std::string& file_name) const;
  void check_classifier(const std::string& file_name) const;

  void read_pseudo_inputs(AuditReader& reader);
  AuditPosterior posterior_of(const AuditRows& seen) const;
  AuditPosterior picture_posterior(const AuditRows& statistics) const;
  bool has_heads() const { return variational_ && !latent_; }
  void read_attributes(AuditReader& reader);
  AuditRows beside(int64_t image, const AuditConditions& told) const;
  AuditRows conditioned(const AuditRows& rows, int64_t copies, const AuditConditions& told) const;

  bool variational_ = false;
  bool planes_ = false;  // what it is told stands beside the channels of a picture
  int64_t classes_ = 0;
  int64_t told_ = 0;         // values of a label or of all attributes
  int64_t told_pixels_ = 1;  // how often they stand in what the encoder sees
  AuditRows attribute_mean_, deviation_;
  int64_t latent_dim_ = 0;
  std::optional<AuditPicture> latent_;  // where a VAE's latent is one, in memory's order
  std::optional<double> log_variance_;
  AuditPicture image_,
      output_;  // pictures of several channels come and go in another order than the file's
  std::vector<AuditLayer> encoder_, decoder_;
  std::vector<int64_t> pseudo_shape_;  // empty: the prior is N(0, I)
  AuditRows pseudo_inputs_;
  AuditPosterior prior_;      // its components
  AuditLayer mean_, logvar_;  // heads on top of encoder_
  std::vector<AuditLayer> classifier_;
  AuditCodebook codebook_;
};

}  // namespace elbo
