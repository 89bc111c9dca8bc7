// What batch norm and group norm share: the passes over the activations, fused with the activation
// function that follows. Private to kernels/*_norm.cu.
//
//   xhat = (x - mean) * rstd,  z = gamma * xhat + beta,  y = act(z)
//   dz   = dy * act'(.), z recomputed from x
//   sums of dz and of dz * xhat over the rows of each segment
//   dx   = rstd * (gamma * dz - mean_dz - xhat * mean_dz_xhat)
//
// Shapes    x, y, dy, dx [segments, rows, channels]; mean, rstd, mean_dz, mean_dz_xhat
//           [segments, channels]; gamma, beta [channels]. mean_dz is the mean of gamma * dz over all that
//           share x's statistics, mean_dz_xhat that of gamma * dz * xhat; both null: statistics that do not
//           depend on x.
// Work      one pass each: forward reads and writes every element once; sums read x and dy; the last
//           pass reads x and dy and writes dx (and reads it when adding)
// Numerics  fp32 (double for double) whatever the storage type. Forward and backward share one formula
//           for z, so that a ReLU's decision is the same in both.
// Errors    the callers check
#pragma once

#include "kernels/activation.h"
#include "kernels/exec.h"
#include "kernels/storage.h"

namespace elbo {

template <class T>
struct NormPass {
  using R = Compute<T>;
  int64_t segments, rows, channels;
  Activation activation;
  const T* x;
  const R *mean, *rstd, *gamma, *beta;
  T* y = nullptr;
  const T* dy = nullptr;
  T* dx = nullptr;
  GradMode mode = GradMode::write;  // of dx
  const R *mean_dz = nullptr, *mean_dz_xhat = nullptr;
};

template <class T>
void norm_forward(const Exec& exec, const NormPass<T>& args);

// Where the sums of a pass go.
template <class R>
struct NormSums {
  R *dz, *dz_xhat;  // [segments, channels]; null: not wanted
  // As the sums are, or, with statistics per channel, what NormPass wants: times gamma / rows.
  bool as_means = false;
  // Parameter gradients, only with one segment; null: left to the caller.
  R *dgamma = nullptr, *dbeta = nullptr;
  GradMode dgamma_mode = GradMode::write, dbeta_mode = GradMode::write;
};

template <class T>
void norm_backward_sums(const Exec& exec, const NormPass<T>& args,
                        const NormSums<Compute<T>>& sums);

template <class T>
void norm_backward_data(const Exec& exec, const NormPass<T>& args);

}  // namespace elbo
