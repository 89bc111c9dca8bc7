// The products of kernels/conv_backends.h by our own kernels (CUDA only). Private to kernels/: callers
// use conv2d.h and conv_likelihood.h.
//
// T is float or bf16. exec.products says whether float goes to the tensor cores as TF32 or is multiplied
// as it is; bf16 always goes to the tensor cores. Sums, biases and weight gradients are fp32.
#pragma once

#include <cstdint>

#include "kernels/conv_backends.h"
#include "kernels/conv_likelihood.h"

namespace elbo::tensor_core {

// Towards the image each phase (conv_gather.cuh) is a product of its own, or all are one
// (tensor_conv_joint.cuh): where they fit into a tile they can be, and by the rule are where that
// multiplies no more, zeros that fill up tiles included.
enum class Phases : int { by_rule, apart, joint };
bool can_join_phases(const ConvGeometry& geometry, ConvTowards towards);
bool rule_joins_phases(const ConvGeometry& geometry, ConvTowards towards);

// Errors    elbo::Error for Phases::joint where they cannot be
template <class T>
void convolve(const Exec& exec, const ConvProduct<T>& product, Phases phases = Phases::by_rule);

template <class T>
void conv_weight_gradient(const Exec& exec, const ConvWeightProduct<T>& product);

// Phases by the rule.
template <class T, class Target>
void conv_likelihood(const Exec& exec, ConvTowards towards, const ConvLikelihood<T, Target>& args);
int64_t conv_likelihood_parts(const ConvGeometry& geometry, ConvTowards towards);

}  // namespace elbo::tensor_core
