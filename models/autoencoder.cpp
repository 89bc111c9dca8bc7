#include "models/autoencoder.h"

#include "engine/ops/likelihood_op.h"
#include "engine/ops/linear_op.h"
#include "models/likelihood.h"

namespace elbo {
namespace {

void check_config(const ModelConfig& config) {
  if (config.latent_dim < 1) {
    throw_error(ErrorCode::usage, "model.latent_dim is ", config.latent_dim,
                "; expected at least 1");
  }
  for (int64_t width : config.hidden) {
    if (width < 1) {
      throw_error(ErrorCode::usage, "model.hidden has a layer of width ", width,
                  "; expected at least 1");
    }
  }
}

std::string sequential(const char* part, size_t layer) {
  return concat(part, ".", 2 * layer);  // activations take the odd places of an nn.Sequential
}

}  // namespace

Autoencoder::Autoencoder(ParamStore& params, const ModelConfig& config, int64_t image_size)
    : params_(&params), config_(config), image_size_(image_size) {
  check_config(config);
  const std::vector<int64_t>& hidden = config.hidden;
  const bool classic = variational() && hidden.size() == 1;
  int64_t width = image_size;
  for (size_t i = 0; i < hidden.size(); ++i) {
    const std::string name = classic ? "fc1" : sequential("encoder", i);
    encoder_.push_back(make_linear({name}, width, hidden[i], config.activation));
    width = hidden[i];
  }
  const int64_t latent = config.latent_dim;
  if (variational()) {
    const std::vector<std::string> heads = classic ? std::vector<std::string>{"fc21", "fc22"}
                                                   : std::vector<std::string>{"fc_mu", "fc_logvar"};
    encoder_.push_back(make_linear(heads, width, latent, Activation::identity));
  } else {
    encoder_.push_back(
        make_linear({sequential("encoder", hidden.size())}, width, latent, Activation::identity));
  }
  width = latent;
  for (size_t i = 0; i < hidden.size(); ++i) {
    const int64_t out = hidden[hidden.size() - 1 - i];
    const std::string name = classic ? "fc3" : sequential("decoder", i);
    decoder_.push_back(make_linear({name}, width, out, config.activation));
    width = out;
  }
  const std::string last = classic ? "fc4" : sequential("decoder", hidden.size());
  decoder_.push_back(make_linear({last}, width, image_size, Activation::identity));
  block_label_ = encoder_.back().label + "|" + decoder_.front().label;
}

Linear Autoencoder::make_linear(const std::vector<std::string>& names, int64_t in, int64_t out_each,
                                Activation activation) {
  Initialiser init;
  init.kind = config_.init;
  init.fan_in = in;
  init.fan_out = out_each;
  Initialiser bias_init = init;
  if (config_.init != InitKind::torch_uniform) bias_init.kind = InitKind::zeros;
  std::vector<std::string> weights, biases;
  Linear layer;
  for (const std::string& name : names) {
    weights.push_back(name + ".weight");
    biases.push_back(name + ".bias");
    layer.label += (layer.label.empty() ? "" : "|") + name;
  }
  layer.weight = params_->add_stacked(weights, {out_each, in}, init);
  layer.bias = params_->add_stacked(biases, {out_each}, bias_init);
  layer.activation = activation;
  return layer;
}

Tensor Autoencoder::run(Tape& tape, std::span<const Linear> layers, Tensor x) const {
  for (const Linear& layer : layers) {
    const Tape::Scope scope(tape, layer.label.c_str());
    x = linear(tape, *params_, x, layer.weight, &layer.bias, layer.activation);
  }
  return x;
}

Tensor Autoencoder::encode(Tape& tape, const Tensor& x) const { return run(tape, encoder_, x); }

LatentBlock Autoencoder::sample(Tape& tape, const Tensor& x, const NoiseSource& noise,
                                const RowWeight& kl_weight) const {
  const Tensor hidden = run(tape, std::span(encoder_).first(encoder_.size() - 1), x);
  const auto layer = [](const Linear& l) {
    return LayerParams{l.label.c_str(), l.weight, l.bias, l.activation};
  };
  const Tape::Scope scope(tape, block_label_.c_str());
  return latent_block(tape, *params_, hidden, layer(encoder_.back()), noise, kl_weight,
                      layer(decoder_.front()));
}

Tensor Autoencoder::decode(Tape& tape, const Tensor& z) const { return run(tape, decoder_, z); }

Tensor Autoencoder::decode_nll(Tape& tape, const Tensor& hidden, size_t first, const Tensor& target,
                               const RowWeight& weight) const {
  const std::span<const Linear> layers = std::span(decoder_).subspan(first);
  if (layers.empty()) return likelihood_nll(tape, config_, hidden, target, weight);
  const Tensor last_hidden = run(tape, layers.first(layers.size() - 1), hidden);
  const Linear& last = layers.back();
  const Tape::Scope scope(tape, last.label.c_str());
  return likelihood_layer(tape, *params_, last_hidden, last.weight, last.bias, target,
                          config_.likelihood, config_.log_variance, weight);
}

Tensor Autoencoder::latent_mean(Tape& tape, const Tensor& encoded) const {
  return variational() ? posterior_mean(tape, encoded) : encoded;
}

}  // namespace elbo
