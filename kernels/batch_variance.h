// The variance under which a batch is most likely: its mean squared error (sigma-VAE), for
// gaussian_nll().
//
//   variance    = sum_bd (target - mean)^2 / (B D)
//   running     = momentum * variance + (1 - momentum) * running
//   log_variance, so that bounded_logvar(log_variance) = log variance  within [-19, 19]
//
// At the best variance the loss of the batch does not depend on it, to first order: so its gradient
// is that of a fixed variance, exactly, if all samples weigh the same (the envelope theorem).
//
// Shapes    mean, target [B, D]; squares [B], scratch; running, log_variance [1]
// Work      two launches; reads mean and target once. Without a mean one launch: log_variance of
//           `running`.
// Numerics  fp32 sums in a fixed order. A batch without any error stands for e^-19.
// Errors    elbo::Error if a pointer is missing; B * D == 0 in training is a no-op
// Source    Rybkin, Daniilidis & Levine 2021, arXiv:2006.13202, section 3.2
#pragma once

#include <cstdint>

#include "kernels/exec.h"
#include "kernels/storage.h"

namespace elbo {

// T is float, bf16 or double; Target is float, uint8_t, or T's double.
template <class T, class Target>
struct BatchVariance {
  const T* mean = nullptr;
  const Target* target = nullptr;
  int64_t batch = 0, dim = 0;
  Compute<T>* squares = nullptr;
  Compute<T>* running = nullptr;
  float momentum = 0.1f;  // of batch normalisation, too
  Compute<T>* log_variance = nullptr;
};

template <class T, class Target>
void batch_variance(const Exec& exec, const BatchVariance<T, Target>& args);

}  // namespace elbo
