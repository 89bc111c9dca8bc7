// The last layer of a VAE's encoder with the sample it is for: both heads, noise and KL.
//
//   stats[b] = [mu | logvar] = x[b] W^T + bias
//   z[b], kl[b]              = as reparam_kl_forward makes them of stats[b] (reparam_kl.h)
//
// Backward is that of the two: reparam_kl_backward, then linear_backward_data and _weight.
//
// Shapes    x [B, in]; W [2D, in], rows 0..D-1 for mu; bias [2D]; stats [B, 2D]; z [B, D]; kl [B]
// Work      CUDA: one launch while the product is small, where a library product and a second kernel
//           would cost two; a warp owns a row and reads all of W, which stays in the caches. Larger
//           products, and the CPU: linear_forward, then reparam_kl_forward.
// Numerics  fp32 products and sums; a row's KL as in reparam_kl.h. The same noise as reparam_kl_forward.
// Errors    elbo::Error if an operand is null; B == 0 is a no-op
#pragma once

#include <cstdint>

#include "kernels/exec.h"
#include "kernels/noise_source.h"

namespace elbo {

// T is float or double.
template <class T>
struct LatentHeadForward {
  const T* x;
  const T* weight;
  const T* bias;
  T* stats;
  T* z;
  T* kl;
  int64_t batch, in, dim;
  NoiseSource noise = {};
};

template <class T>
void latent_head_forward(const Exec& exec, const LatentHeadForward<T>& args);

}  // namespace elbo
