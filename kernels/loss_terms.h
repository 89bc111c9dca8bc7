// What objectives beyond the plain ELBO are put together from: weighted terms, floors, distances.
//
//   weighted_sum       y = sum_b weight_b x[b]               the value of a term of the objective
//   shift              y[i] = x[i] + c
//   at_least           y[i] = max(x[i], floor)               free bits
//   distance           y[i] = |x[i] - target[0]|             capacity
//   l1_rows            y[b] = sum_d |x[b,d]|                 sparse codes
//   bernoulli_kl       y[i] = KL(Bernoulli(rho) || Bernoulli(x[i])), x cut to [1e-6, 1 - 1e-6]
//   dip_penalty        y = off sum_{i != j} c[i,j]^2 + diagonal sum_i (c[i,i] - 1)^2
//   log_ratio_weights  w[b,k] = exp(s[b,k] - log sum_j exp s[b,j])  softmax: importance weights
//
// Shapes    x, y [n] unless shown; weighted_sum, dip_penalty y [1]; c [D, D]; s, w [B, K]
// Gradient  beside each; of at_least and distance zero where they are flat, of |x| zero at 0
// Work      one launch each
// Numerics  fp32, fixed order of summation
// Errors    elbo::Error if a pointer is missing; no elements: no-op, sums are then zero
// Source    Kingma et al. 2016, arXiv:1606.04934, appendix C.8 (free bits); Burgess et al. 2018,
//           arXiv:1804.03599 (capacity); Ng 2011, CS294A lecture notes (KL sparsity); Kumar et al.
//           2017, arXiv:1711.00848 (DIP)
#pragma once

#include <cstdint>

#include "kernels/exec.h"
#include "kernels/loss_weight.h"
#include "kernels/storage.h"

namespace elbo {

// T is float, or double on the CPU.
template <class T>
void weighted_sum(const Exec& exec, int64_t n, const T* x, const BasicLossWeight<T>& weight, T* y);
// dx[b] (+)= weight_b: where the gradient of an objective begins.
template <class T>
void weighted_sum_backward(const Exec& exec, int64_t n, const BasicLossWeight<T>& weight, T* dx,
                           GradMode mode);

template <class T>
void shift(const Exec& exec, int64_t n, const T* x, double c, T* y);

// dx[b,d] = w[b] dy[b,d]
template <class T>
void scale_rows(const Exec& exec, int64_t rows, int64_t cols, const T* dy, const T* w, T* dx,
                GradMode mode);

template <class T>
void at_least_forward(const Exec& exec, int64_t n, const T* x, float floor, T* y);
template <class T>
void at_least_backward(const Exec& exec, int64_t n, const T* x, float floor, const T* dy, T* dx,
                       GradMode mode);

template <class T>
void distance_forward(const Exec& exec, int64_t n, const T* x, const T* target, T* y);
template <class T>
void distance_backward(const Exec& exec, int64_t n, const T* x, const T* target, const T* dy, T* dx,
                       GradMode mode);

template <class T>
void l1_rows_forward(const Exec& exec, int64_t rows, int64_t cols, const T* x, T* y);
template <class T>
void l1_rows_backward(const Exec& exec, int64_t rows, int64_t cols, const T* x, const T* dy, T* dx,
                      GradMode mode);

template <class T>
void bernoulli_kl_forward(const Exec& exec, int64_t n, float rho, const T* x, T* y);
template <class T>
void bernoulli_kl_backward(const Exec& exec, int64_t n, float rho, const T* x, const T* dy, T* dx,
                           GradMode mode);

struct DipWeights {
  float off_diagonal = 0.0f, diagonal = 0.0f;
};
template <class T>
void dip_penalty_forward(const Exec& exec, int64_t dim, const T* c, const DipWeights& weights,
                         T* y);
template <class T>
void dip_penalty_backward(const Exec& exec, int64_t dim, const T* c, const DipWeights& weights,
                          const T* dy, T* dc, GradMode mode);

template <class T>
void log_ratio_weights(const Exec& exec, int64_t rows, int64_t cols, const T* s, const T* log_sum,
                       T* w);

}  // namespace elbo
