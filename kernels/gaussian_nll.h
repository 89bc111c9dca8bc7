// Gaussian negative log-likelihood with one variance for all elements, with its gradient, in one
// pass. The mean squared error is its fixed-variance case.
//
//   nll[b] = 1/2 * (sse_b * exp(-v) + D * (v + log 2 pi))     sse_b = sum_d (target - mean)^2
//   dmean[b,d] = weight_b * (mean - target) * exp(-v)
//   dlog_variance[b] = weight_b * 1/2 * (D - sse_b * exp(-v)) * dv/dlog_variance
//
// v is the bounded logarithm (bounded_logvar of formulas.h) of the variance: of *log_variance, a
// learned scalar, or of fixed_log_variance where log_variance is null. At the default of 0,
// sigma^2 = 1, this is nll = sse/2 + D/2 * log 2 pi: "MSE" in the literature drops the constant,
// and often the 1/2, which is sigma^2 = 1/2.
//
// Shapes    mean, target, dmean [B, D] row-major, contiguous; nll, dlog_variance [B]
// Units     nats per sample, summed over D and not averaged over B; a uint8 target stands for x/255
// Gradient  as above; dmean may be the same memory as mean, which it then replaces. With
//           GradMode::add it is added to what dmean holds, and aliasing makes no sense.
//           dlog_variance is always written: it holds the terms that the caller sums over b.
// Work      one launch; reads mean and target once, writes dmean once; GradMode::add reads dmean too
// Numerics  squares are summed in fp32 in a fixed order; NaN in, NaN out
// Errors    elbo::Error if a pointer is missing. B == 0 is a no-op, D == 0 gives nll = 0.
// Source    Kingma & Welling 2013, arXiv:1312.6114, appendix C.2; Rybkin et al. 2021,
//           arXiv:2006.13202 (sigma-VAE: the best single sigma^2 is the mean squared error)
#pragma once

#include <cstdint>

#include "kernels/exec.h"
#include "kernels/loss_weight.h"
#include "kernels/storage.h"

namespace elbo {

// T is float, bf16 or double; Target is float, uint8_t, or T's double.
template <class T, class Target>
struct GaussianNll {
  const T* mean;
  const Target* target;
  int64_t batch, dim;
  const Compute<T>* log_variance = nullptr;  // device scalar
  float fixed_log_variance = 0.0f;
  Compute<T>* nll = nullptr;
  T* dmean = nullptr;
  Compute<T>* dlog_variance = nullptr;
  BasicLossWeight<Compute<T>> weight = {};  // values are required with dmean and with dlog_variance
  GradMode mode = GradMode::write;          // of dmean
};

template <class T, class Target>
void gaussian_nll(const Exec& exec, const GaussianNll<T, Target>& args);

}  // namespace elbo
