// The network of a checkpoint, evaluated in double by code of its own.
//
// This is the auditor's licensed second copy: nothing here may call kernels/, engine/ops/ or
// formulas.h, or a mistake there would confirm itself. Only names of configuration values are shared.
//
// Tensors   by PyTorch's names, weight (out, in), F32 or F64:
//             fc1, fc21, fc22, fc3, fc4                                   one hidden layer
//             encoder.0, encoder.2, ..., fc_mu, fc_logvar, decoder.0, ... any other depth
//             encoder.0, ..., decoder.0, ...                              no latent heads: autoencoder
//           Convolutional networks take their layers from the configuration (models/audit_layers.h).
// Shapes    images [N, height * width * channels] in this order, latents [N, latent_dim], row-major
// Work      every multiplication of the network, by loops; one thread (callers split images over threads)
// Errors    ErrorCode::data naming file and tensor: missing, unknown, wrong type or shape
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/conv_geometry.h"
#include "models/audit_layers.h"
#include "models/config.h"

namespace elbo {

struct AuditPosterior {
  AuditRows mean;
  AuditRows logvar;  // bounded, so that variance = exp(logvar); empty for a plain autoencoder
};

class AuditNet {
 public:
  // Depth and widths follow from the tensors; `file_name` is for messages.
  AuditNet(const SafetensorsView& weights, const std::string& file_name, Activation activation);
  // Of any kind; MLPs as above.
  AuditNet(const SafetensorsView& weights, const std::string& file_name, const ModelConfig& config,
           const ImageSize& image);

  bool variational() const { return variational_; }
  int64_t image_size() const { return decoder_.back().out; }
  int64_t latent_dim() const { return latent_dim_; }

  AuditPosterior encode(const AuditRows& images) const;
  // Logits of the Bernoulli, means of the Gaussian likelihood.
  AuditRows decode(const AuditRows& latents) const;

 private:
  void read_mlp(const SafetensorsView& weights, const std::string& file_name,
                Activation activation);
  void read_convolutional(const SafetensorsView& weights, const std::string& file_name,
                          const ModelConfig& config, const ImageSize& image);
  void check_chain(const std::string& file_name) const;

  bool variational_ = false;
  int64_t latent_dim_ = 0;
  AuditPicture image_;  // pictures of several channels come and go in another order than the file's
  std::vector<AuditLayer> encoder_, decoder_;
  AuditLayer mean_, logvar_;  // heads on top of encoder_
};

// What a network's raw output v means as a log-variance: v itself for |v| <= 10, beyond that squeezed
// towards +-20 by 20 - 100/|v|.
double audit_bounded_logvar(double raw);

}  // namespace elbo
