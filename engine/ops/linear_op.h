// Fully connected layer with its activation as one op.
//
//   y = act(x W^T + b)
//
// Shapes    x [B, in]; weight [out, in], bias [out] (PyTorch's order); y [B, out]
// Gradient  dz = dy * act'(.);  dx = dz W;  dW = dz^T x;  db = sum over rows of dz
//           Whenever y has one consumer and that is linear too, the activation's backward rides in
//           the epilogue of the product that computes dy, and db there or in the product for dW
//           (linear_weight_takes_bias in kernels/linear.h).
// Errors    elbo::Error if shapes disagree
#pragma once

#include "engine/tape.h"
#include "kernels/activation.h"

namespace elbo {

// `bias` may be null.
Tensor linear(Tape& tape, ParamStore& params, const Tensor& x, ParamStore::Id weight,
              const ParamStore::Id* bias, Activation activation);

// For ops that compute a layer's output themselves, fused with something else: what linear() with
// Activation::identity does, except that the caller's op writes the returned y.
Tensor record_linear(Tape& tape, ParamStore& params, const Tensor& x, ParamStore::Id weight,
                     const ParamStore::Id* bias);

// The activation alone, for places where no linear layer stands in front.
Tensor activation(Tape& tape, const Tensor& x, Activation kind);

}  // namespace elbo
