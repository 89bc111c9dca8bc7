// KL divergence of a diagonal Gaussian from N(0, I), without sampling.
//
//   kl[b]     = sum_d k(b,d)         k = 1/2 * (mu^2 + expm1(v) - v),  v = bounded_logvar(logvar)
//   kl_dim[d] = mean_b k(b,d)        which latents carry information
//
// reparam_kl.h is the fused form for models that also draw a sample.
//
// Shapes    mu, logvar [B, D], rows row_stride elements apart, so that both may be halves of one
//           [B, 2D] matrix; dmu, dlogvar likewise with grad_row_stride; kl [B]; kl_dim [D]
// Units     nats; kl is summed over D and not averaged over B, kl_dim averaged over B
// Gradient  of sum_b weight_b * kl[b]: dmu = w*mu; dlogvar = w * 1/2 * expm1(v) * dv/dlogvar
// Work      forward reads 2BD elements per requested output, one launch each; backward reads and
//           writes 2BD, one launch
// Numerics  expm1, because 1 + v - exp(v) cancels: it is 5e-2 off in fp32 at |v| = 1e-3. Sums are
//           fp32 in a fixed order. k >= 0 up to rounding; finite for every finite logvar.
// Errors    elbo::Error if a pointer is missing or a stride is less than D. B == 0 writes kl_dim = 0
//           and nothing else; D == 0 gives kl = 0.
// Source    Kingma & Welling 2013, arXiv:1312.6114, appendix B
#pragma once

#include <cstdint>

#include "kernels/exec.h"
#include "kernels/loss_weight.h"
#include "kernels/storage.h"

namespace elbo {

// T is float, bf16 or double.
template <class T>
struct GaussianKlForward {
  const T* mu;
  const T* logvar;
  int64_t row_stride;
  int64_t batch, dim;
  Compute<T>* kl = nullptr;
  Compute<T>* kl_dim = nullptr;
};

template <class T>
struct GaussianKlBackward {
  const T* mu;
  const T* logvar;
  int64_t row_stride;
  int64_t batch, dim;
  BasicLossWeight<Compute<T>> dkl = {};
  T* dmu;
  T* dlogvar;
  int64_t grad_row_stride;
  GradMode mode = GradMode::write;
};

template <class T>
void gaussian_kl_forward(const Exec& exec, const GaussianKlForward<T>& args);

template <class T>
void gaussian_kl_backward(const Exec& exec, const GaussianKlBackward<T>& args);

}  // namespace elbo
