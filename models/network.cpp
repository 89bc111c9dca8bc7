#include "models/network.h"

#include "engine/ops/basis_op.h"
#include "engine/ops/linear_op.h"
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

LayerWeights add_conv(ParamStore& params, InitKind kind, const std::string& name,
                      const LayerPlan& plan) {
  const LayerSpec& spec = plan.spec;
  const ConvWindow& w = spec.window;
  const int64_t in = plan.in.size.channels, out = spec.out;
  const bool transpose = spec.kind == LayerKind::conv_transpose;
  const int64_t first = transpose ? in : out, last = transpose ? out : in;
  const FileLayout file{.dims = {first, last, w.kernel_h, w.kernel_w},
                        .outer = first,
                        .channels = last,
                        .spatial = w.taps()};
  // PyTorch's fan-in is that of the weight's second axis, for the transposed kind too.
  const Initialiser init = weight_init(kind, last * w.taps(), first * w.taps());
  LayerWeights layer{.label = name};
  layer.weight = params.add(name + ".weight", {first, w.kernel_h, w.kernel_w, last}, init, file);
  layer.bias = params.add(name + ".bias", {out}, bias_init(init));
  return layer;
}

// Of the channels of a picture, or of every value of a vector, which may be pixels.
NormParams add_norm(ParamStore& params, const std::string& name, const LayerPlan& plan) {
  const ImageSize& size = plan.out.size;
  const int64_t channels = plan.out.flat ? size.size() : size.channels;
  if (plan.out.flat && size.pixels() > 1 && size.channels > 1) {
    throw_error(ErrorCode::usage, "layer \"", plan.spec.text,
                "\": the values of a picture cannot be normalised as a vector; normalise the "
                "layer before or after it");
  }
  return plan.spec.norm == NormKind::batch ? add_batch_norm(params, name, channels)
                                           : add_group_norm(params, name, channels);
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

Tensor view_as(Tape& tape, const Tensor& x, const LayerState& state) {
  const int64_t batch = x.shape[0];
  const ImageSize& s = state.size;
  const Shape shape =
      state.flat ? Shape{batch, s.size()} : Shape{batch, s.height, s.width, s.channels};
  return x.shape == shape ? x : reshape(tape, x, shape);
}

Network::Network(ParamStore& params, std::vector<LayerPlan> plans, const std::string& prefix,
                 InitKind init, const std::vector<std::string>& names)
    : params_(&params) {
  int64_t module = 0;
  size_t named = 0;
  const auto next_module = [&] { return concat(prefix, ".", module++); };
  const auto next_name = [&] {
    const std::string name = next_module();
    return named < names.size() ? names[named++] : name;
  };
  for (LayerPlan& plan : plans) {
    module += plan.flattens + plan.unflattens;
    Layer layer{.plan = plan, .weights = {}, .norm = {}};
    switch (plan.spec.kind) {
      case LayerKind::linear:
        layer.weights = add_linear(params, init, {next_name()}, plan.in, plan.out);
        break;
      case LayerKind::conv:
      case LayerKind::conv_transpose:
        layer.weights = add_conv(params, init, next_name(), plan);
        break;
      case LayerKind::reshape:
      case LayerKind::norm:
        break;
      default:
        throw_error(ErrorCode::usage, "layer \"", plan.spec.text, "\" is not available yet");
    }
    if (plan.spec.norm != NormKind::none) layer.norm = add_norm(params, next_module(), plan);
    module += plan.spec.activation != Activation::identity;
    layers_.push_back(std::move(layer));
  }
}

bool Network::is_plain_linear(size_t i) const {
  return i < size() && plan(i).spec.kind == LayerKind::linear &&
         plan(i).spec.norm == NormKind::none;
}

Tensor Network::normalise(Tape& tape, const Layer& layer, const Tensor& x) const {
  const LayerSpec& spec = layer.plan.spec;
  if (spec.norm == NormKind::batch) {
    return batch_norm(tape, *params_, x, layer.norm,
                      {.training = tape.recording(), .activation = spec.activation});
  }
  return group_norm(tape, *params_, x, layer.norm,
                    {.groups = spec.groups, .activation = spec.activation});
}

Tensor Network::apply(Tape& tape, const Layer& layer, const Tensor& x) const {
  const LayerSpec& spec = layer.plan.spec;
  const LayerWeights& w = layer.weights;
  const Activation activation =
      spec.norm == NormKind::none ? spec.activation : Activation::identity;
  switch (spec.kind) {
    case LayerKind::linear:
      return linear(tape, *params_, x, w.weight, &w.bias, activation);
    case LayerKind::conv:
      return conv2d(tape, *params_, x, w.weight, &w.bias, spec.window, activation);
    case LayerKind::conv_transpose:
      return conv_transpose2d(tape, *params_, x, w.weight, &w.bias, spec.window,
                              spec.output_padding.value_or(OutputPadding{}), activation);
    default:
      return x;
  }
}

Tensor Network::run(Tape& tape, Tensor x, size_t first, size_t last) const {
  for (size_t i = first; i < last; ++i) {
    const Layer& layer = layers_[i];
    const Tape::Scope scope(tape, layer.weights.label.c_str());
    x = apply(tape, layer, view_as(tape, x, layer.plan.in));
    if (layer.plan.spec.norm != NormKind::none) x = normalise(tape, layer, x);
    x = view_as(tape, x, layer.plan.out);
  }
  return x;
}

}  // namespace elbo
