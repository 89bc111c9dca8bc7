#include "tests/support/op_table_conv.h"

#include "engine/ops/basis_op.h"
#include "engine/ops/conv_op.h"

namespace elbo {
namespace {

constexpr Activation kActivations[] = {Activation::identity, Activation::relu, Activation::tanh,
                                       Activation::silu};

struct Sample {
  const char* name;
  Shape x;  // [B, H, W, C]
  int64_t out_channels;
  ConvWindow window;
  OutputPadding padding;  // of the transposed op
};

// A VAE's two usual windows on odd and non-square images, one that leaves gaps, and a 1x1.
const Sample kSamples[] = {
    {"k4s2p1", {2, 5, 4, 3}, 2, ConvWindow::square(4, 2, 1), {}},
    {"k3s2p1", {2, 4, 3, 2}, 3, ConvWindow::square(3, 2, 1), {1, 0}},
    {"k2s3d2", {1, 7, 5, 1}, 2, {2, 1, 3, 2, 1, 0, 2, 1}, {0, 1}},
    {"k1", {3, 2, 1, 2}, 2, ConvWindow::square(1), {}},
};

using Apply = Tensor (*)(OpInputs&, const Tensor& x, size_t weight, bool with_bias, const Sample&,
                         Activation);

// One layer; two in a row, where the activation of the first rides in the second's product; and the same
// with another consumer, where nothing may be fused.
OpEntry entry_of(const char* op, Apply apply, Shape (*weight_shape)(const Sample&)) {
  OpEntry entry{op, {}};
  for (const Sample& sample : kSamples) {
    for (Activation kind : kActivations) {
      OpCase one;
      one.name = concat(sample.name, "_", activation_name(kind));
      one.leaves = {sample.x};
      one.params = {weight_shape(sample), Shape{sample.out_channels}};
      one.run = [=](OpInputs& in) {
        return OpOutputs{{apply(in, in.leaves[0], 0, true, sample, kind)}, {}};
      };
      entry.cases.push_back(one);

      const Sample pointwise{"", {}, 2, ConvWindow::square(1), {}};
      OpCase two = one;
      two.name += "_then_pointwise";
      two.params.push_back(Shape{pointwise.out_channels, 1, 1, pointwise.out_channels});
      if (sample.out_channels != pointwise.out_channels) continue;
      two.run = [=](OpInputs& in) {
        const Tensor hidden = apply(in, in.leaves[0], 0, true, sample, kind);
        return OpOutputs{{apply(in, hidden, 2, false, pointwise, Activation::identity)}, {}};
      };
      entry.cases.push_back(two);
      OpCase shared = two;
      shared.name += "_shared";
      shared.run = [=](OpInputs& in) {
        const Tensor hidden = apply(in, in.leaves[0], 0, true, sample, kind);
        return OpOutputs{{apply(in, hidden, 2, false, pointwise, Activation::identity),
                          apply(in, hidden, 2, false, pointwise, Activation::tanh)},
                         {}};
      };
      entry.cases.push_back(shared);
    }
  }
  return entry;
}

}  // namespace

OpEntry conv2d_entry() {
  return entry_of(
      "conv2d",
      [](OpInputs& in, const Tensor& x, size_t weight, bool with_bias, const Sample& sample,
         Activation kind) {
        return conv2d(in.tape, in.params, x, in.param_ids[weight],
                      with_bias ? &in.param_ids[weight + 1] : nullptr, sample.window, kind);
      },
      [](const Sample& s) {
        return Shape{s.out_channels, s.window.kernel_h, s.window.kernel_w, s.x[3]};
      });
}

OpEntry conv_transpose2d_entry() {
  return entry_of(
      "conv_transpose2d",
      [](OpInputs& in, const Tensor& x, size_t weight, bool with_bias, const Sample& sample,
         Activation kind) {
        return conv_transpose2d(in.tape, in.params, x, in.param_ids[weight],
                                with_bias ? &in.param_ids[weight + 1] : nullptr, sample.window,
                                sample.padding, kind);
      },
      [](const Sample& s) {
        return Shape{s.x[3], s.window.kernel_h, s.window.kernel_w, s.out_channels};
      });
}

OpEntry conv_likelihood_layer_entry() {
  OpEntry entry{"conv_likelihood_layer", {}};
  for (const Sample& sample : kSamples) {
    for (const bool transpose : {false, true}) {
      for (const Likelihood likelihood : {Likelihood::bernoulli, Likelihood::gaussian}) {
        const ImageSize in{sample.x[1], sample.x[2], sample.x[3]};
        const ConvWindow& w = sample.window;
        const ImageSize out = transpose
                                  ? conv_transpose2d_geometry(1, in, sample.out_channels, w,
                                                              sample.padding.h, sample.padding.w)
                                        .image
                                  : conv2d_geometry(1, in, sample.out_channels, w).features;
        const int64_t first = transpose ? in.channels : out.channels;
        const int64_t last = transpose ? out.channels : in.channels;
        OpCase one;
        one.name = concat(transpose ? "transpose_" : "", sample.name,
                          likelihood == Likelihood::bernoulli ? "_bernoulli" : "_gaussian");
        one.leaves = {sample.x};
        one.params = {Shape{first, w.kernel_h, w.kernel_w, last}, Shape{out.channels}};
        one.constants = {Shape{sample.x[0], out.size()}};
        one.unit_constants = true;
        one.run = [=](OpInputs& inputs) {
          const LastConvolution layer{inputs.param_ids[0], inputs.param_ids[1], w, transpose,
                                      sample.padding};
          return OpOutputs{
              {},
              {conv_likelihood_layer(inputs.tape, inputs.params, inputs.leaves[0], layer,
                                     inputs.constants[0], likelihood, -0.7f, inputs.row_weight)}};
        };
        entry.cases.push_back(one);
      }
    }
  }
  return entry;
}

}  // namespace elbo
