#include "models/blocks.h"

#include "engine/ops/attention_op.h"
#include "engine/ops/basis_op.h"
#include "engine/ops/linear_op.h"

namespace elbo {
namespace {

const ConvWindow kThree = ConvWindow::square(3, 1, 1);
const ConvWindow kOne = ConvWindow::square(1);

Tensor convolve(Tape& tape, ParamStore& params, const Tensor& x, const LayerWeights& layer,
                const ConvWindow& window) {
  return conv2d(tape, params, x, layer.weight, &layer.bias, window, Activation::identity);
}

}  // namespace

Tensor normalise(Tape& tape, ParamStore& params, const Tensor& x, const NormParams& norm,
                 const LayerSpec& spec, Activation activation) {
  if (spec.norm == NormKind::batch) {
    return batch_norm(tape, params, x, norm,
                      {.training = tape.recording(), .activation = activation});
  }
  return group_norm(tape, params, x, norm, {.groups = spec.groups, .activation = activation});
}

ResidualBlock add_residual(ParamStore& params, InitKind init, const std::string& name,
                           const LayerPlan& plan) {
  const int64_t in = plan.in.size.channels, out = plan.spec.out;
  ResidualBlock block{
      .spec = plan.spec, .norm1 = {}, .norm2 = {}, .conv1 = {}, .conv2 = {}, .skip = {}};
  block.norm1 = add_norm(params, plan.spec.norm, name + ".norm1", in);
  block.conv1 = add_conv(params, init, name + ".conv1", in, out, kThree);
  block.norm2 = add_norm(params, plan.spec.norm, name + ".norm2", out);
  block.conv2 = add_conv(params, init, name + ".conv2", out, out, kThree);
  if (in != out) block.skip = add_conv(params, init, name + ".nin_shortcut", in, out, kOne);
  return block;
}

Tensor residual(Tape& tape, ParamStore& params, const Tensor& x, const ResidualBlock& block) {
  const LayerSpec& spec = block.spec;
  Tensor y = normalise(tape, params, x, block.norm1, spec, spec.activation);
  y = convolve(tape, params, y, block.conv1, kThree);
  y = normalise(tape, params, y, block.norm2, spec, spec.activation);
  y = convolve(tape, params, y, block.conv2, kThree);
  const bool has_skip = block.skip.weight >= 0;
  return add(tape, has_skip ? convolve(tape, params, x, block.skip, kOne) : x, y);
}

AttentionBlock add_attention(ParamStore& params, InitKind init, const std::string& name,
                             const LayerPlan& plan) {
  const int64_t channels = plan.in.size.channels;
  const auto pointwise = [&](const char* part) {
    return add_pointwise(params, init, name + part, channels, channels);
  };
  AttentionBlock block{.spec = plan.spec, .norm = {}, .q = {}, .k = {}, .v = {}, .proj_out = {}};
  block.norm = add_norm(params, plan.spec.norm, name + ".norm", channels);
  block.q = pointwise(".q");
  block.k = pointwise(".k");
  block.v = pointwise(".v");
  block.proj_out = pointwise(".proj_out");
  return block;
}

Tensor self_attention(Tape& tape, ParamStore& params, const Tensor& x,
                      const AttentionBlock& block) {
  const int64_t channels = x.shape[3], rows = x.size() / channels;
  const auto pointwise = [&](const Tensor& in, const LayerWeights& layer) {
    const Tensor flat = reshape(tape, in, {rows, channels});
    const Tensor y = linear(tape, params, flat, layer.weight, &layer.bias, Activation::identity);
    return reshape(tape, y, x.shape);
  };
  const Tensor h = normalise(tape, params, x, block.norm, block.spec, Activation::identity);
  const Tensor y =
      attention(tape, pointwise(h, block.q), pointwise(h, block.k), pointwise(h, block.v));
  return add(tape, x, pointwise(y, block.proj_out));
}

}  // namespace elbo
