// Reparameterised Gaussian sample and its KL divergence from N(0, I), fused.
//
//   z[b,d] = mu[b,d] + exp(v/2) * eps[b,d]       v = bounded_logvar(logvar[b,d])  (formulas.h)
//   kl[b]  = sum_d 1/2 * (mu^2 + expm1(v) - v)   eps ~ N(0,1) from the Philox stream (noise.h)
//
// Shapes    mu, logvar [B, D], rows row_stride elements apart, so that both may be halves of one
//           [B, 2D] matrix that one product wrote; dmu, dlogvar likewise with grad_row_stride;
//           z, dz [B, D] contiguous; kl [B]
// Units     kl in nats per sample (summed over D, not averaged over B)
// Gradient  with w = weight of row b in dkl, 0 where dkl.values is null:
//             dmu     = dz + w*mu
//             dlogvar = 1/2 * (dz * exp(v/2) * eps + w*expm1(v)) * dv/dlogvar
//           eps gets none and is not stored: backward draws it again from the same counters, so it
//           must be given the same NoiseSource and see the same step. dz == null counts as zeros.
// Work      forward reads 2BD, writes BD + B elements; backward reads 3BD, writes 2BD; one launch
//           each. On CUDA a thread owns the four dimensions of one Philox call.
// Numerics  expm1, because 1 + v - exp(v) cancels: it is 5e-2 off in fp32 at |v| = 1e-3. The noise
//           and z have the same bits on both devices; kl is an fp32 sum in an order that is fixed
//           for each device. NaN in, NaN out.
// Errors    elbo::Error if a pointer is missing or a stride is less than D. B == 0 is a no-op,
//           D == 0 gives kl = 0.
// Source    Kingma & Welling 2013, arXiv:1312.6114, eq. 10 and appendix B
#pragma once

#include <cstdint>

#include "kernels/exec.h"
#include "kernels/loss_weight.h"
#include "kernels/noise_source.h"
#include "kernels/storage.h"

namespace elbo {

// T is float, bf16 or double.
template <class T>
struct ReparamKlForward {
  const T* mu;
  const T* logvar;
  int64_t row_stride;
  T* z;
  Compute<T>* kl = nullptr;
  int64_t batch, dim;
  NoiseSource noise = {};
};

template <class T>
struct ReparamKlBackward {
  const T* mu;
  const T* logvar;
  int64_t row_stride;
  const T* dz = nullptr;
  BasicLossWeight<Compute<T>> dkl = {};
  T* dmu;
  T* dlogvar;
  int64_t grad_row_stride;
  GradMode mode = GradMode::write;
  int64_t batch, dim;
  NoiseSource noise = {};
};

template <class T>
void reparam_kl_forward(const Exec& exec, const ReparamKlForward<T>& args);

template <class T>
void reparam_kl_backward(const Exec& exec, const ReparamKlBackward<T>& args);

// out[b,d] = eps[b,d]: standard normal noise, e.g. latents for samples from the prior.
template <class T>
void gaussian_noise(const Exec& exec, T* out, int64_t rows, int64_t dim, const NoiseSource& noise);

}  // namespace elbo
