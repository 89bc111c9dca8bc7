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

// One application of a layer: what backward needs to know of it.
struct LinearCall {
  ParamStore* params;
  Tensor x, y, aux;
  Param weight, bias;
  bool has_bias;
  Activation activation;
  int64_t batch, in, out;
};

// For ops that compute a layer themselves, fused with something else: checks the shapes, makes y
// and what forward must save in aux, and offers the activation's backward to y's consumer. y has the
// type of x unless another is given.
LinearCall new_linear_call(Tape& tape, ParamStore& params, const Tensor& x, ParamStore::Id weight,
                           const ParamStore::Id* bias, Activation activation,
                           std::optional<DType> y_type = std::nullopt);
// All of backward but dx = dy W: undoes the activation in dy unless y's consumer has, and launches
// the gradients of weight and bias beside what follows.
void linear_backward_params(Tape& tape, const LinearCall& call, const Tensor& dy);

// The same where only forward is fused: what linear() with Activation::identity does, except that the
// caller's op writes y.
LinearCall record_linear(Tape& tape, ParamStore& params, const Tensor& x, ParamStore::Id weight,
                         const ParamStore::Id* bias);

// The activation alone, for places where no linear layer stands in front.
Tensor activation(Tape& tape, const Tensor& x, Activation kind);

}  // namespace elbo
