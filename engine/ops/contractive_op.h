// Derivatives of a network's output by its input as ops of their own, so that they can be penalised.
//
//   activation_slope   s = act'(a), by the activated value y = act(a)
//   jacobian_norm      n[b] = |d y[b] / d x[b]|_F^2 of one layer y = act(x W^T + bias), exactly
//
// Products of the slopes with linear() and conv2d() without bias carry a tangent through deeper networks
// (Network::run_tangent).
//
// Shapes    y, s of one shape; slope [B, D]; weight [D, in]; n [B]
// Gradient  of y and slope, and of the weight
// Errors    ErrorCode::usage for activations whose slope does not follow from their value
// Formulas  kernels/contractive.h
#pragma once

#include "engine/ops/op_support.h"

namespace elbo {

Tensor activation_slope(Tape& tape, const Tensor& y, Activation kind);
Tensor jacobian_norm(Tape& tape, ParamStore& params, const Tensor& slope, ParamStore::Id weight);

}  // namespace elbo
