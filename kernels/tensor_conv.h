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

template <class T>
void convolve(const Exec& exec, const ConvProduct<T>& product);

template <class T>
void conv_weight_gradient(const Exec& exec, const ConvWeightProduct<T>& product);

template <class T, class Target>
void conv_likelihood(const Exec& exec, ConvTowards towards, const ConvLikelihood<T, Target>& args);
int64_t conv_likelihood_parts(const ConvGeometry& geometry, ConvTowards towards);

}  // namespace elbo::tensor_core
