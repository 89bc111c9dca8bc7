// How fast a layer's output moves with its input: what contractive autoencoders keep small.
//
//   activation_slope   s = act'(a), by the activated value y = act(a)
//   jacobian_norm      n[b] = sum_j s[b,j]^2 sum_i W[j,i]^2 = |d y / d x|_F^2 of y = act(x W^T + bias)
//
// Shapes    y, s [n] or [B, D]; W [D, in]; n [B]; row_norms [D] of work space, sum_i W[j,i]^2
// Gradient  ds = 2 s row_norms dn;  dW[j,i] = 2 W[j,i] sum_b s[b,j]^2 dn[b];
//           dy = act''(a)/act'(a) ds, zero for activations that are straight in pieces
// Work      jacobian_norm two launches forward, three backward
// Numerics  fp32, fixed order
// Errors    elbo::Error if a pointer is missing; ErrorCode::usage for silu and gelu, whose slopes do not
//           follow from y
// Source    Rifai et al. 2011, "Contractive Auto-Encoders", ICML, equation 4
#pragma once

#include <cstdint>

#include "kernels/activation.h"
#include "kernels/exec.h"
#include "kernels/storage.h"

namespace elbo {

// T is float, or double on the CPU.
template <class T>
void activation_slope_forward(const Exec& exec, int64_t n, Activation activation, const T* y, T* s);
template <class T>
void activation_slope_backward(const Exec& exec, int64_t n, Activation activation, const T* y,
                               const T* ds, T* dy, GradMode mode);

template <class T>
struct JacobianNorm {
  const T* slope = nullptr;
  const T* weight = nullptr;
  T* row_norms = nullptr;  // written by forward, read by backward
  int64_t batch = 0, in = 0, out = 0;
};

template <class T>
void jacobian_norm_forward(const Exec& exec, const JacobianNorm<T>& args, T* norm);
// dslope and dweight may be null; row_sums [out] is work space.
template <class T>
void jacobian_norm_backward(const Exec& exec, const JacobianNorm<T>& args, const T* dnorm,
                            T* row_sums, T* dslope, GradMode slope_mode, T* dweight,
                            GradMode weight_mode);

}  // namespace elbo
