#include "models/network.h"

#include "engine/ops/basis_op.h"
#include "engine/ops/contractive_op.h"
#include "engine/ops/linear_op.h"
#include "engine/ops/resample_op.h"
#include "kernels/error.h"

namespace elbo {
namespace {

bool is_block(const LayerSpec& spec) {
  return spec.kind == LayerKind::residual || spec.kind == LayerKind::attention;
}
// Behind the layer, and not inside of it.
bool has_own_norm(const LayerSpec& spec) { return spec.norm != NormKind::none && !is_block(spec); }

// Of the channels of a picture, or of every value of a vector, which must not be pixels: files have
// these in another order.
int64_t normalised_channels(const LayerPlan& plan) {
  const ImageSize& size = plan.out.size;
  if (plan.out.flat && size.pixels() > 1 && size.channels > 1) {
    throw_error(ErrorCode::usage, "layer \"", plan.spec.text,
                "\": the values of a picture cannot be normalised as a vector; normalise the "
                "layer before or after it");
  }
  return plan.out.flat ? size.size() : size.channels;
}

Tensor resample(Tape& tape, const LayerPlan& plan, const Tensor& x) {
  if (plan.spec.kind == LayerKind::upsample) {
    return upsample(tape, x, plan.spec.bilinear ? Upsampling::bilinear : Upsampling::nearest,
                    plan.out.size.height, plan.out.size.width);
  }
  const ConvWindow& w = plan.spec.window;
  return avg_pool2d(tape, x, {.kernel = w.kernel_h, .stride = w.stride_h, .padding = w.padding_h});
}

}  // namespace

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
    const int64_t before = params.count();
    Layer layer;
    layer.plan = plan;
    const LayerSpec& spec = plan.spec;
    switch (spec.kind) {
      case LayerKind::linear:
        layer.weights = add_linear(params, init, {next_name()}, plan.in, plan.out);
        break;
      case LayerKind::conv:
      case LayerKind::conv_transpose:
        layer.weights = add_conv(params, init, next_name(), plan.in.size.channels, spec.out,
                                 spec.window, spec.kind == LayerKind::conv_transpose);
        break;
      case LayerKind::residual:
        layer.weights.label = next_name();
        layer.residual = add_residual(params, init, layer.weights.label, plan);
        break;
      case LayerKind::attention:
        layer.weights.label = next_name();
        layer.attention = add_attention(params, init, layer.weights.label, plan);
        break;
      case LayerKind::upsample:
      case LayerKind::avg_pool:
        layer.weights.label = next_module();
        break;
      case LayerKind::reshape:
      case LayerKind::norm:
        break;
    }
    if (has_own_norm(spec)) {
      const std::string name = next_module();
      if (layer.weights.label.empty()) layer.weights.label = name;
      layer.norm = add_norm(params, spec.norm, name, normalised_channels(plan));
    }
    module += !is_block(spec) && spec.activation != Activation::identity;
    layer.parameters = params.count() - before;
    layers_.push_back(std::move(layer));
  }
}

bool Network::is_plain_linear(size_t i) const {
  return i < size() && plan(i).spec.kind == LayerKind::linear &&
         plan(i).spec.norm == NormKind::none;
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
    case LayerKind::upsample:
    case LayerKind::avg_pool:
      return resample(tape, layer.plan, x);
    case LayerKind::residual:
      return residual(tape, *params_, x, layer.residual);
    case LayerKind::attention:
      return self_attention(tape, *params_, x, layer.attention);
    case LayerKind::reshape:
    case LayerKind::norm:
      break;
  }
  return x;
}

// The layer without its bias and activation.
Tensor Network::apply_to_tangent(Tape& tape, const Layer& layer, const Tensor& tangent) const {
  const LayerSpec& spec = layer.plan.spec;
  const LayerWeights& w = layer.weights;
  constexpr Activation kNone = Activation::identity;
  if (spec.norm == NormKind::none) {
    switch (spec.kind) {
      case LayerKind::linear:
        return linear(tape, *params_, tangent, w.weight, nullptr, kNone);
      case LayerKind::conv:
        return conv2d(tape, *params_, tangent, w.weight, nullptr, spec.window, kNone);
      case LayerKind::conv_transpose:
        return conv_transpose2d(tape, *params_, tangent, w.weight, nullptr, spec.window,
                                spec.output_padding.value_or(OutputPadding{}), kNone);
      default:
        break;
    }
  }
  throw_error(ErrorCode::usage, "layer \"", spec.text,
              "\" in a contractive encoder; its Jacobian is known for linear layers and "
              "convolutions without normalisation");
}

Network::WithTangent Network::run_tangent(Tape& tape, const Tensor& x,
                                          const Tensor& tangent) const {
  WithTangent at{x, tangent};
  for (const Layer& layer : layers_) {
    const Tape::Scope scope(tape, layer.weights.label.c_str());
    at.value = apply(tape, layer, view_as(tape, at.value, layer.plan.in));
    at.tangent = apply_to_tangent(tape, layer, view_as(tape, at.tangent, layer.plan.in));
    const Activation kind = layer.plan.spec.activation;
    if (kind != Activation::identity) {
      at.tangent = mul(tape, at.tangent, activation_slope(tape, at.value, kind));
    }
    at.value = view_as(tape, at.value, layer.plan.out);
    at.tangent = view_as(tape, at.tangent, layer.plan.out);
  }
  return at;
}

Tensor Network::run(Tape& tape, Tensor x, size_t first, size_t last) const {
  for (size_t i = first; i < last; ++i) {
    const Layer& layer = layers_[i];
    const Tape::Scope scope(tape, layer.weights.label.c_str());
    x = apply(tape, layer, view_as(tape, x, layer.plan.in));
    const LayerSpec& spec = layer.plan.spec;
    if (has_own_norm(spec)) {
      x = normalise(tape, *params_, x, layer.norm, spec, spec.activation);
    }
    x = view_as(tape, x, layer.plan.out);
  }
  return x;
}

}  // namespace elbo
