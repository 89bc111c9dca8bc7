// Group normalisation of NHWC activations, with the activation that follows it.
//
//   mean, var over the H*W positions and C/G channels of each group of each sample (var biased)
//   y = act(gamma_c (x - mean) / sqrt(var + epsilon) + beta_c)
//
// Shapes    x, y, dy, dx [B, rows, C] row-major with rows = H*W; gamma, beta, dgamma, dbeta [C];
//           mean, rstd [B, C]: the same number for every channel of a group
// Gradient  dz = dy act'(.), with z recomputed from x;  dbeta_c, dgamma_c = sums of dz, dz xhat over the
//           batch and positions;  dx = rstd (g - mean(g) - xhat mean(g xhat)), g = gamma dz, means over
//           the group
// Work      forward: x read twice, y written once; backward: x and dy read twice, dx written once.
//           3 to 5 launches each, of which those that matter are two.
// Numerics  as kernels/batch_norm.h
// Scratch   kernels/channel_passes.h
// Errors    elbo::Error for a null operand, or if groups does not divide C. B == 0 or rows == 0 is a
//           no-op, except that dgamma and dbeta become zero in GradMode::write.
// Source    Wu & He 2018, arXiv:1803.08494; torch.nn.functional.group_norm
#pragma once

#include <cstdint>

#include "kernels/activation.h"
#include "kernels/exec.h"
#include "kernels/storage.h"

namespace elbo {

// T is float, bf16 or double (CPU only).
template <class T>
struct GroupNormForward {
  using R = Compute<T>;
  int64_t batch, rows, channels, groups;
  const T* x;
  const R *gamma, *beta;
  T* y;
  R *mean, *rstd;  // for backward
  Activation activation = Activation::identity;
  R epsilon = R(1e-6);  // of KL autoencoders; PyTorch's default is 1e-5
};

template <class T>
void group_norm_forward(const Exec& exec, const GroupNormForward<T>& args);

template <class T>
struct GroupNormBackward {
  using R = Compute<T>;
  int64_t batch, rows, channels, groups;
  const T *x, *dy;
  const R *gamma, *beta, *mean, *rstd;
  R* sums;  // [2, B, C] to work with
  Activation activation = Activation::identity;
  T* dx = nullptr;  // null: not wanted
  GradMode mode = GradMode::write;
  R *dgamma = nullptr, *dbeta = nullptr;  // may be null
  GradMode dgamma_mode = GradMode::write, dbeta_mode = GradMode::write;
};

template <class T>
void group_norm_backward(const Exec& exec, const GroupNormBackward<T>& args);

}  // namespace elbo
