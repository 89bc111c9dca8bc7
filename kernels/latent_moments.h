// Moments of a batch of posteriors, which penalties on the aggregate posterior are made of.
//
//   mean_kl      y[d] = mean_b KL(N(mu[b,d], exp(v[b,d])) || N(0, 1))
//   covariance   c[i,j] = mean_b (mu[b,i] - m[i]) (mu[b,j] - m[j])  +  [i == j] mean_b exp(v[b,i]),
//                m = mean_b mu; without logvar the second term is missing
//
// v is the bounded logarithm (bounded_logvar of formulas.h) of the variance. With logvar, c is the
// covariance of samples of the aggregate posterior; without, that of the posteriors' means.
//
// Shapes    mu, logvar [B, D] with row stride; y, mean [D]; c [D, D]
// Units     KL in nats per dimension
// Gradient  dmu[b,i] = sum_j (dc[i,j] + dc[j,i]) (mu[b,j] - m[j]) / B;  dv[b,i] = dc[i,i] exp(v) / B
// Work      covariance two launches forward, one backward; O(B D^2)
// Numerics  fp32 sums in a fixed order; covariance subtracts the mean before it multiplies
// Errors    elbo::Error if a pointer is missing or the batch is empty
// Source    Kumar, Sattigeri, Balakrishnan 2017, arXiv:1711.00848, section 3 (covariances)
#pragma once

#include <cstdint>

#include "kernels/exec.h"
#include "kernels/storage.h"

namespace elbo {

// Of what a covariance is.
enum class Spread : int { means, samples };

// T is float, or double on the CPU.
template <class T>
struct LatentStats {
  const T* mu = nullptr;
  const T* logvar = nullptr;
  int64_t stride = 0;
  int64_t batch = 0, dim = 0;
};

template <class T>
struct LatentStatsGradient {
  const T* upstream = nullptr;
  T* dmu = nullptr;
  T* dlogvar = nullptr;  // null if it takes none
  int64_t stride = 0;
  GradMode mode = GradMode::write;
};

template <class T>
void mean_kl_forward(const Exec& exec, const LatentStats<T>& args, T* y);
template <class T>
void mean_kl_backward(const Exec& exec, const LatentStats<T>& args,
                      const LatentStatsGradient<T>& gradient);

template <class T>
void covariance_forward(const Exec& exec, const LatentStats<T>& args, T* mean, T* c);
template <class T>
void covariance_backward(const Exec& exec, const LatentStats<T>& args, const T* mean,
                         const LatentStatsGradient<T>& gradient);

}  // namespace elbo
