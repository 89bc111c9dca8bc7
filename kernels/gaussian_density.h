// Log-densities of latents under diagonal Gaussians: of each row's own, and of every row under every
// component of a mixture.
//
//   gaussian_density    y[b] = sum_d log N(z[b,d]; mu[b,d], exp(v[b,d]))
//   pairwise_density    joint          s[b,k]       = sum_d log N(z[b,d]; mu[k,d], exp(v[k,d])) + w(b,k)
//                       per dimension  s[b * D + d, k] = log N(z[b,d]; mu[k,d], exp(v[k,d]))   + w(b,k)
//
// v is the bounded logarithm (bounded_logvar of formulas.h) of the variance. Without mu and logvar
// gaussian_density is that of N(0, I). The log-sum-exp of a row of s is the log-density of the mixture
// whose components k have the weights exp(w(b,k)); see PairWeights.
//
// Shapes    z [B, D], contiguous; mu, logvar [B, D] or [K, D] with row stride; y [B];
//           s [B, K] or [B * D, K]
// Units     nats
// Gradient  with t = (z - mu) exp(-v):  dz = -t, dmu = t, dv = (t (z - mu) - 1) / 2, times the upstream
//           gradient and summed over components for dz, over rows for dmu and dv
// Work      one launch forward; backward one for z and one for the components. Pairwise reads and
//           writes B K (D) values: meant for batches and mixtures of up to some thousands.
// Numerics  fp32 sums in index order; the same on every run
// Errors    elbo::Error if a pointer is missing; empty shapes are no-ops
// Source    Chen et al. 2018, arXiv:1802.04942, appendix C.1 (stratified weights); Tomczak & Welling
//           2017, arXiv:1705.07120 (mixtures of posteriors as priors)
#pragma once

#include <cstdint>

#include "kernels/exec.h"
#include "kernels/portability.h"
#include "kernels/storage.h"

namespace elbo {

// The logarithms of the components' weights in a row's mixture, which sum to one.
//
// uniform()     1 / K each: the components are the mixture
// stratified()  rows and components are the same batch of M + 1 samples out of N. The aggregate posterior
//               over all N is estimated with a row's own component 1/N, the one after it
//               (N - M) / (N M), and 1/M for the others: unbiased, as own samples are always in a batch.
struct PairWeights {
  float own = 0.0f, next = 0.0f, other = 0.0f;

  static PairWeights uniform(int64_t components);
  static PairWeights stratified(int64_t batch, int64_t samples);

  ELBO_HD float at(int64_t row, int64_t component, int64_t components) const {
    if (component == row) return own;
    const int64_t after = row + 1 < components ? row + 1 : 0;
    return component == after ? next : other;
  }
};

// T is float, or double on the CPU.
template <class T>
struct GaussianDensity {
  const T* z = nullptr;
  const T* mu = nullptr;  // both null: N(0, I)
  const T* logvar = nullptr;
  int64_t stride = 0;  // between rows of mu, and of logvar
  int64_t batch = 0, dim = 0;
};

template <class T>
void gaussian_density_forward(const Exec& exec, const GaussianDensity<T>& args, T* y);

// Gradients that are null are not wanted; dmu and dlogvar only together.
template <class T>
struct GaussianDensityGradient {
  const T* upstream = nullptr;
  T* dz = nullptr;
  GradMode z_mode = GradMode::write;
  T* dmu = nullptr;
  T* dlogvar = nullptr;
  int64_t stride = 0;
  GradMode stats_mode = GradMode::write;
};

template <class T>
void gaussian_density_backward(const Exec& exec, const GaussianDensity<T>& args,
                               const GaussianDensityGradient<T>& gradient);

template <class T>
struct PairwiseDensity {
  GaussianDensity<T> rows;  // its mu, logvar and stride are the components'
  int64_t components = 0;
  bool per_dimension = false;
  PairWeights weights;
};

template <class T>
void pairwise_density_forward(const Exec& exec, const PairwiseDensity<T>& args, T* s);

template <class T>
void pairwise_density_backward(const Exec& exec, const PairwiseDensity<T>& args,
                               const GaussianDensityGradient<T>& gradient);

}  // namespace elbo
