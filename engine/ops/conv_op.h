// Convolution and transposed convolution of images with their activation, each as one op.
//
//   y = act(conv2d(x, W) + b)      y = act(conv_transpose2d(x, W) + b)
//
// Shapes    x [B, H, W, C]; weight [out, kernel_h, kernel_w, in] for conv2d and [in, kernel_h,
//           kernel_w, out] for conv_transpose2d; bias [out]; y [B, H', W', out]. Files hold PyTorch's
//           layouts: ParamStore::FileLayout.
// Gradient  as linear() in engine/ops/linear_op.h: where y has one consumer that is a convolution too,
//           the activation's backward rides in the product that computes dy.
// Errors    elbo::Error if shapes disagree, ErrorCode::usage if nothing is left of the image
#pragma once

#include "engine/ops/op_support.h"
#include "kernels/activation.h"
#include "kernels/conv_geometry.h"
#include "kernels/likelihood_layer.h"

namespace elbo {

// `bias` may be null.
Tensor conv2d(Tape& tape, ParamStore& params, const Tensor& x, ParamStore::Id weight,
              const ParamStore::Id* bias, const ConvWindow& window, Activation activation);

// What a transposed convolution adds to the bottom and the right of its output: which of the images that
// a convolution of this window makes the same features of is meant.
struct OutputPadding {
  int64_t h = 0, w = 0;
  bool operator==(const OutputPadding&) const = default;
};

Tensor conv_transpose2d(Tape& tape, ParamStore& params, const Tensor& x, ParamStore::Id weight,
                        const ParamStore::Id* bias, const ConvWindow& window,
                        OutputPadding output_padding, Activation activation);

// A decoder's last layer, without activation.
struct LastConvolution {
  ParamStore::Id weight, bias;
  ConvWindow window;
  bool transpose = false;
  OutputPadding padding;  // transpose
};

// That layer and the likelihood of its output, which a training step never stores: the losses in nats,
// [parts * B], part by part; a row's loss is the sum of its parts (kernels/conv_likelihood.h). `target`
// has as many elements as the output, in its order.
Tensor conv_likelihood_layer(Tape& tape, ParamStore& params, const Tensor& x,
                             const LastConvolution& layer, const Tensor& target,
                             Likelihood likelihood, float log_variance,
                             const RowWeight& loss_weight);

}  // namespace elbo
