// A parameter as a value that ops can take: pseudo-inputs of a VampPrior.
//
//   parameter   y = act(p)
//
// Shapes    y as the parameter
// Gradient  of the parameter. The activation must be known from its value (not SiLU, GELU)
// Formulas  kernels/activation.h
#pragma once

#include "engine/ops/op_support.h"

namespace elbo {

Tensor parameter(Tape& tape, ParamStore& params, ParamStore::Id id, Activation activation);

}  // namespace elbo
