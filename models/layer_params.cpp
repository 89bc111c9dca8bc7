#include "models/layer_params.h"

#include "kernels/error.h"

namespace elbo {
namespace {

Initialiser weight_init(InitKind kind, int64_t fan_in, int64_t fan_out) {
  Initialiser init;
  init.kind = kind;
  init.fan_in = fan_in;
  init.fan_out = fan_out;
  return init;
}

// PyTorch draws biases as the weights; the other rules start them at zero.
Initialiser bias_init(const Initialiser& weight) {
  Initialiser init = weight;
  if (weight.kind != InitKind::torch_uniform) init.kind = InitKind::zeros;
  return init;
}

}  // namespace

LayerWeights add_linear(ParamStore& params, InitKind kind, const std::vector<std::string>& names,
                        const LayerState& in, const LayerState& out) {
  const int64_t fan_in = in.size.size(), width = out.size.size();
  FileLayout weight_file, bias_file;
  const bool pixels_in = in.size.pixels() > 1, pixels_out = out.size.pixels() > 1;
  ELBO_CHECK(!(pixels_in && pixels_out && in.size.channels > 1 && out.size.channels > 1),
             "a linear layer from pixels to pixels in two orders: ", names.front());
  weight_file.dims = {width, fan_in};
  if (pixels_out && out.size.channels > 1) {
    weight_file.channels = bias_file.channels = out.size.channels;
    weight_file.spatial = bias_file.spatial = out.size.pixels();
    weight_file.inner = fan_in;
  } else if (pixels_in) {
    weight_file.outer = width;
    weight_file.channels = in.size.channels;
    weight_file.spatial = in.size.pixels();
  }
  const Initialiser init = weight_init(kind, fan_in, width);
  std::vector<std::string> weights, biases;
  LayerWeights layer;
  for (const std::string& name : names) {
    weights.push_back(name + ".weight");
    biases.push_back(name + ".bias");
    layer.label += (layer.label.empty() ? "" : "|") + name;
  }
  layer.weight = params.add_stacked(weights, {width, fan_in}, init, weight_file);
  layer.bias = params.add_stacked(biases, {width}, bias_init(init), bias_file);
  return layer;
}

LayerWeights add_conv(ParamStore& params, InitKind kind, const std::string& name,
                      int64_t in_channels, int64_t out_channels, const ConvWindow& w,
                      bool transpose) {
  const int64_t first = transpose ? in_channels : out_channels;
  const int64_t last = transpose ? out_channels : in_channels;
  const FileLayout file{.dims = {first, last, w.kernel_h, w.kernel_w},
                        .outer = first,
                        .channels = last,
                        .spatial = w.taps()};
  // PyTorch's fan-in is that of the weight's second axis, for the transposed kind too.
  const Initialiser init = weight_init(kind, last * w.taps(), first * w.taps());
  LayerWeights layer{.label = name};
  layer.weight = params.add(name + ".weight", {first, w.kernel_h, w.kernel_w, last}, init, file);
  layer.bias = params.add(name + ".bias", {out_channels}, bias_init(init));
  return layer;
}

LayerWeights add_pointwise(ParamStore& params, InitKind kind, const std::string& name, int64_t in,
                           int64_t out) {
  const Initialiser init = weight_init(kind, in, out);
  FileLayout file;
  file.dims = {out, in, 1, 1};
  LayerWeights layer{.label = name};
  layer.weight = params.add(name + ".weight", {out, in}, init, file);
  layer.bias = params.add(name + ".bias", {out}, bias_init(init));
  return layer;
}

NormParams add_norm(ParamStore& params, NormKind kind, const std::string& name, int64_t channels) {
  return kind == NormKind::batch ? add_batch_norm(params, name, channels)
                                 : add_group_norm(params, name, channels);
}

}  // namespace elbo
