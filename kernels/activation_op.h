// Activations as ops of their own, for where they cannot ride on a product.
//
//   forward    y = act(x)
//   backward   dx = dy * act'(...), from y, or from the pre-activation where y does not determine it
//              (needs_pre_activation in kernels/activation.h)
//   bias       the same over a [B, D] matrix, and dbias[d] = sum_b dx[b,d] in the same pass
//
// T is float, bf16 or double (CPU only).
//
// Shapes    all arrays alike; pre is only read if the activation needs it, y only if it does not
// Gradient  GradMode::add adds to dx; then dx must not alias dy. In GradMode::write it may, and y may
//           alias x in forward.
// Work      one launch each; forward 2 accesses per element, backward 3 (4 when adding). The column
//           sums have a fixed order.
// Numerics  kernels/activation.h
// Errors    elbo::Error for a missing operand; n == 0 or B == 0 is a no-op, except that a dbias in
//           GradMode::write becomes zero
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/activation.h"
#include "kernels/exec.h"
#include "kernels/storage.h"

namespace elbo {

template <class T>
void activation_forward(const Exec& exec, Activation activation, int64_t n, const T* x, T* y);

template <class T>
struct BasicActivationBackward {
  Activation activation;
  int64_t n;
  const T* dy;
  const T* y = nullptr;
  const T* pre = nullptr;
  T* dx;
  GradMode mode = GradMode::write;
};
using ActivationBackward = BasicActivationBackward<float>;

template <class T>
void activation_backward(const Exec& exec, const BasicActivationBackward<T>& args);

// dx = dy * act' and its column sums.
template <class T>
struct BasicActivationBackwardBias {
  Activation activation;
  int64_t batch, dim;
  const T* dy;
  const T* y = nullptr;
  const T* pre = nullptr;
  T* dx;                        // may be dy
  Compute<T>* dbias = nullptr;  // [dim]; null: activation only
  GradMode dbias_mode = GradMode::write;
};
using ActivationBackwardBias = BasicActivationBackwardBias<float>;

template <class T>
void activation_backward_bias(const Exec& exec, const BasicActivationBackwardBias<T>& args);

// y = act(y + bias) in place: what a product without epilogue leaves to do. `aux` as
// linear_aux_bytes() in kernels/linear.h describes it, null if nothing goes backward. T is float or
// double.
template <class T>
struct BasicBiasActivation {
  Activation activation;
  int64_t batch, dim;
  const T* bias = nullptr;  // [dim]; null: activation only
  T* y;
  void* aux = nullptr;
};

template <class T>
void bias_activation_forward(const Exec& exec, const BasicBiasActivation<T>& args);

// Bytes of one row of cuBLASLt's ReLU mask over `dim` columns: rounded up to 128 bits, as it demands.
constexpr size_t relu_mask_row_bytes(int64_t dim) {
  return static_cast<size_t>((dim + 127) / 128 * 16);
}

}  // namespace elbo
