#include "bench/network_description.h"

#include <nlohmann/json.hpp>

#include "kernels/error.h"

namespace elbo::bench {
namespace {

using Json = nlohmann::ordered_json;

Json planes_of(const ImageSize& size) { return {size.channels, size.height, size.width}; }

// Names of the layers whose weights a parameter is made of: more than one if they are stacked.
std::vector<std::string> layer_names(const ParamStore& params, ParamStore::Id weight) {
  const std::string ending = ".weight";
  std::vector<std::string> names;
  for (const ParamStore::Piece& piece : params.pieces()) {
    if (piece.param == weight)
      names.push_back(piece.name.substr(0, piece.name.size() - ending.size()));
  }
  return names;
}

void describe_window(Json& layer, const LayerSpec& spec) {
  const ConvWindow& w = spec.window;
  const OutputPadding padding = spec.output_padding.value_or(OutputPadding{});
  layer["kernel"] = {w.kernel_h, w.kernel_w};
  layer["stride"] = {w.stride_h, w.stride_w};
  layer["padding"] = {w.padding_h, w.padding_w};
  layer["dilation"] = {w.dilation_h, w.dilation_w};
  layer["output_padding"] = {padding.h, padding.w};
}

Json describe_layer(const ParamStore& params, const Network& network, size_t i) {
  const LayerPlan& plan = network.plan(i);
  const LayerSpec& spec = plan.spec;
  Json layer;
  switch (spec.kind) {
    case LayerKind::conv:
    case LayerKind::conv_transpose:
      layer["kind"] = spec.kind == LayerKind::conv ? "conv" : "conv_transpose";
      describe_window(layer, spec);
      break;
    case LayerKind::linear:
      layer["kind"] = "linear";
      break;
    default:
      throw_error(ErrorCode::usage, "layer \"", spec.text, "\" has no counterpart in bench/peers");
  }
  if (spec.norm == NormKind::group) {
    throw_error(ErrorCode::usage, "layer \"", spec.text,
                "\": group norm has no counterpart in bench/peers");
  }
  layer["names"] = layer_names(params, network.weights(i).weight);
  layer["activation"] = activation_name(spec.activation);
  if (plan.flattens) layer["flatten"] = planes_of(plan.in.size);
  if (plan.unflattens) layer["unflatten"] = planes_of(plan.in.size);
  if (spec.norm == NormKind::batch)
    layer["batch_norm"] = layer_names(params, network.norm(i).weight).front();
  return layer;
}

Json describe_layers(const ParamStore& params, const Network& network) {
  Json layers = Json::array();
  for (size_t i = 0; i < network.size(); ++i) layers.push_back(describe_layer(params, network, i));
  return layers;
}

Json describe_heads(const Autoencoder& model) {
  Json heads;
  heads["kind"] = "linear";
  heads["names"] = layer_names(model.params(), model.heads().weight);
  heads["activation"] = activation_name(Activation::identity);
  const Network& encoder = model.encoder();
  if (encoder.size() > 0) {
    const LayerState& features = encoder.plan(encoder.size() - 1).out;
    if (!features.flat) heads["flatten"] = planes_of(features.size);
  }
  return heads;
}

}  // namespace

std::string describe_network(const Autoencoder& model) {
  const ModelConfig& config = model.config();
  const ImageSize& image = model.image();
  const ParamStore& params = model.params();
  Json network;
  network["image"] = {image.height, image.width, image.channels};
  network["latent"] = model.latent_dim();
  if (config.likelihood != Likelihood::bernoulli && config.likelihood != Likelihood::gaussian) {
    throw_error(ErrorCode::usage, "likelihood ", likelihood_name(config.likelihood),
                " has no counterpart in bench/peers");
  }
  network["likelihood"] = config.likelihood == Likelihood::bernoulli ? "bernoulli" : "gaussian";
  network["log_variance"] = config.log_variance;
  network["encoder"] = describe_layers(params, model.encoder());
  network["heads"] = describe_heads(model);
  network["decoder"] = describe_layers(params, model.decoder());
  return network.dump(1);
}

}  // namespace elbo::bench
