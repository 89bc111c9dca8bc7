// Batch normalisation over all but the last axis, with the activation that follows it.
//
//   training    mean_c, var_c over the rows (var biased: divided by rows)
//               running_mean = (1 - momentum) running_mean + momentum mean
//               running_var  = (1 - momentum) running_var  + momentum var * rows / (rows - 1)
//   otherwise   mean_c, var_c = running_mean, running_var, which stay as they are
//   y = act(gamma (x - mean) / sqrt(var + epsilon) + beta)
//
// Shapes    x, y, dy, dx [rows, C] row-major: NHWC with rows = B*H*W, or [B, D]; all others [C]
// Gradient  dz = dy act'(.), with z recomputed from x, mean and rstd;  dbeta = sum dz,
//           dgamma = sum dz xhat;  dx = gamma rstd (dz - (dbeta + xhat dgamma) / rows) in training,
//           gamma rstd dz otherwise. Running statistics take no gradient.
// Work      training forward: x read twice, y written once; 2 launches, 3 for many rows. Backward: x and
//           dy read twice, dx written once; 2 or 3 launches.
// Numerics  fp32 statistics whatever the storage type, by kernels/norm_stats.h: at mean 1e3 and deviation
//           1, y is right to 1e-4. Order of summation fixed. A variance that is infinite or NaN makes
//           its channel of y NaN, where PyTorch returns beta for an infinite one.
// Scratch   kernels/channel_passes.h
// Errors    elbo::Error for a null operand, and for training on one row, as PyTorch: one value has no
//           variance. No rows: forward is a no-op, running statistics included; backward makes dgamma
//           and dbeta zero in GradMode::write.
// Source    Ioffe & Szegedy 2015, arXiv:1502.03167; torch.nn.functional.batch_norm
#pragma once

#include <cstdint>

#include "kernels/activation.h"
#include "kernels/exec.h"
#include "kernels/storage.h"

namespace elbo {

// T is float, bf16 or double (CPU only).
template <class T>
struct BatchNormForward {
  using R = Compute<T>;
  int64_t rows, channels;
  const T* x;
  const R *gamma, *beta;
  T* y;
  R *mean, *rstd;  // what x was normalised by, for backward
  Activation activation = Activation::identity;
  bool training = true;
  R epsilon = R(1e-5), momentum = R(0.1);
  R* running_mean = nullptr;  // moved on in training, where null means that nobody keeps them
  R* running_var = nullptr;
  int64_t* batches = nullptr;  // counted up in training; may be null
};

template <class T>
void batch_norm_forward(const Exec& exec, const BatchNormForward<T>& args);

template <class T>
struct BatchNormBackward {
  using R = Compute<T>;
  int64_t rows, channels;
  const T *x, *dy;
  const R *gamma, *beta, *mean, *rstd;
  Activation activation = Activation::identity;
  bool training = true;
  T* dx = nullptr;  // null: not wanted
  GradMode mode = GradMode::write;
  R *dgamma = nullptr, *dbeta = nullptr;  // may be null
  GradMode dgamma_mode = GradMode::write, dbeta_mode = GradMode::write;
  R* sums = nullptr;  // [2, C] to work with, if dx is wanted in training
};

template <class T>
void batch_norm_backward(const Exec& exec, const BatchNormBackward<T>& args);

}  // namespace elbo
