// Convolution and transposed convolution of images: forward with bias and activation, and the gradients
// of data, weight and bias.
//
//   conv2d            y[b,i,j,k] = act(bias[k] + sum_{r,s,c} x[b, i,j -> r,s, c] W[k,r,s,c])
//   conv_transpose2d  y[b,h,w,c] = act(bias[c] + sum_{k,r,s: (i,j) -> r,s is (h,w)} x[b,i,j,k] W[k,r,s,c])
//
// with "i,j -> r,s" the window of kernels/conv_geometry.h: the two are adjoint, <conv2d(x), y> =
// <x, conv_transpose2d(y)>, and backward of the one is forward of the other.
//
// Shapes    geometry.image and geometry.features are [B, H, W, C]. conv2d: x, dx are images, y, dy
//           features; conv_transpose2d: the other way round. W, dW [features.channels, kernel_h,
//           kernel_w, image.channels]; bias, dbias [channels of y]
// Gradient  dy is the gradient at the pre-activation; `input` undoes the activation that made x in the
//           same pass as dx, as in kernels/linear.h, whose struct it is. GradMode::add adds to what the
//           buffer holds; dx with `input` must be GradMode::write.
// Work      one product each, nothing is inserted or scattered: every output is written once. On CUDA
//           by our own kernels or by cuDNN's deterministic ones with passes for bias and activation
//           behind them, as exec.product_kernels, what timing has found or the channels say
//           (conv_choice.h); while timing is allowed, a layer's first call runs both a few times.
// Numerics  fp32 sums in an order that depends on geometry, thread count and choice only; on CUDA operands are
//           rounded to TF32 first only if exec.products says so, or are bf16, with fp32 biases and
//           weight gradients. The double overloads run plain loops and are the oracle of the tests.
// Scratch   up to kGemmWorkspaceBytes from the start of exec.scratch, on either device
// Errors    elbo::Error for a null operand, a geometry whose two sides cannot belong together, or on
//           CUDA an operand that is not 16-byte aligned. batch == 0 leaves y and dx alone and makes
//           dW and dbias zero in GradMode::write.
// Source    Dumoulin & Visin 2016, arXiv:1603.07285
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/conv_geometry.h"
#include "kernels/likelihood_layer.h"
#include "kernels/linear.h"

namespace elbo {

template <class T>
struct BasicConvForward {
  ConvGeometry geometry;
  const T* x;
  const T* weight;
  const Compute<T>* bias = nullptr;
  T* y;
  void* aux = nullptr;  // conv_aux_bytes(), 16-byte aligned; null when nothing goes backward
  Activation activation = Activation::identity;
};

// What forward saves for backward besides y, which has `outputs` elements: the pre-activation of SiLU and
// GELU, else nothing.
template <class T>
size_t conv_aux_bytes(int64_t outputs, Activation activation);

template <class T>
struct BasicConvBackwardData {
  ConvGeometry geometry;
  const T* dy;
  const T* weight;
  T* dx;
  GradMode mode = GradMode::write;
  const BasicInputActivation<T>* input = nullptr;
};

template <class T>
struct BasicConvBackwardWeight {
  ConvGeometry geometry;
  const T* x;
  const T* dy;
  Compute<T>* dweight;
  GradMode mode = GradMode::write;
  Compute<T>* dbias = nullptr;
  GradMode dbias_mode = GradMode::write;
};

using ConvForward = BasicConvForward<float>;
using ConvBackwardData = BasicConvBackwardData<float>;
using ConvBackwardWeight = BasicConvBackwardWeight<float>;

// T is float, double (CPU only) or bf16 (CUDA only).
template <class T>
void conv2d_forward(const Exec& exec, const BasicConvForward<T>& args);
template <class T>
void conv2d_backward_data(const Exec& exec, const BasicConvBackwardData<T>& args);
template <class T>
void conv2d_backward_weight(const Exec& exec, const BasicConvBackwardWeight<T>& args);

template <class T>
void conv_transpose2d_forward(const Exec& exec, const BasicConvForward<T>& args);
template <class T>
void conv_transpose2d_backward_data(const Exec& exec, const BasicConvBackwardData<T>& args);
template <class T>
void conv_transpose2d_backward_weight(const Exec& exec, const BasicConvBackwardWeight<T>& args);

}  // namespace elbo
