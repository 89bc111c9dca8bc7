// The products of kernels/linear.h by our own tensor-core kernels (CUDA only). Private to kernels/:
// callers use linear.h and likelihood_layer.h, whose dispatchers have checked operands and taken out the
// empty cases.
//
// They do what cuBLASLt's epilogues cannot: every activation and its derivative, the likelihood with its
// gradient, the weight gradients of many layers in one launch; and they stay fast where its tiles are
// too large. T is float, rounded to TF32, or bf16; sums, biases and weight gradients are fp32.
#pragma once

#include <cstdint>

#include "kernels/likelihood_layer.h"
#include "kernels/linear.h"

namespace elbo::tensor_core {

template <class T>
void linear_forward(const Exec& exec, const BasicLinearForward<T>& args);

// Undoes the input's activation too, but leaves its bias gradient to others.
template <class T>
void linear_backward_data(const Exec& exec, const BasicLinearBackwardData<T>& args);

// The weight and bias gradients of up to kMostLayers layers in one launch.
inline constexpr int kMostLayers = 16;
template <class T>
void linear_backward_weights(const Exec& exec, const BasicLinearBackwardWeight<T>* layers,
                             int count);

template <class T, class Target>
void likelihood_layer(const Exec& exec, const LikelihoodLayer<T, Target>& args);
int64_t likelihood_layer_parts(int64_t batch, int64_t dim);

}  // namespace elbo::tensor_core
