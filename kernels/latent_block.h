// The narrow middle of a VAE, from the encoder's last hidden layer to the decoder's first, as one
// launch each way: small VAEs are bound by launches, and these products are too small for a library.
//
//   forward   stats[b]    = [mu | logvar] = x[b] W^T + bias          the heads
//             z[b], kl[b] = as reparam_kl_forward makes them of stats[b]
//             y[b]        = act(z[b] V^T + decoder_bias)
//   backward  dz[b]       = dy[b] V, beside what other consumers of z sent
//             dstats[b]   = as reparam_kl_backward makes it of dz[b]
//             dx[b]       = dstats[b] W, times act'(x) if the producer of x left that to us
//
// Shapes    x, dx [B, in]; W [2D, in], rows 0..D-1 for mu; bias [2D]; stats, dstats [B, 2D]; z, dz
//           [B, D]; kl [B]; V [H, D]; decoder_bias [H]; y, dy [B, H]
// Gradient  dy is the gradient at the pre-activation of y, as in linear.h; aux and x_aux are what
//           linear_aux_bytes() describes. dx with an activation of x must be GradMode::write. The
//           weights' gradients are linear_backward_weight's, of dy and z, and of dstats and x.
// Work      CUDA: one launch while the products are small; a warp owns a row and reads all of W and
//           V, which stay in the caches. Larger products, and the CPU: linear_forward, reparam_kl
//           and linear_backward_data, three launches each way.
// Numerics  fp32 products and sums, also under tf32; the same noise as reparam_kl. With bf16
//           storage z is rounded before the decoder multiplies it, as it would be between two
//           launches; dz is not rounded before dstats is made of it, nor dstats before dx is.
// Errors    elbo::Error if an operand is null, on CUDA if an aux is not 16-byte aligned; for bf16
//           on the CPU or with more than kMaxLatentDim latents, as linear.h has no such product.
//           B == 0 is a no-op.
#pragma once

#include <cstdint>

#include "kernels/activation.h"
#include "kernels/exec.h"
#include "kernels/loss_weight.h"
#include "kernels/noise_source.h"
#include "kernels/storage.h"

namespace elbo {

// The statistics of a warp's row must fit in shared memory: 16 KB for the four rows of a block.
inline constexpr int64_t kMaxLatentDim = 512;

// T is what activations are stored in, W the weights: both float, both bf16, or both double.
template <class T, class W = T>
struct LatentBlockForward {
  using Storage = T;
  const T* x;
  const W* weight;
  const Compute<T>* bias;
  Compute<T>* stats;
  T* z;
  Compute<T>* kl;
  const W* decoder_weight;
  const Compute<T>* decoder_bias;
  T* y;
  void* aux = nullptr;  // null when nothing goes backward
  int64_t batch, in, dim, hidden;
  Activation activation = Activation::identity;
  NoiseSource noise = {};
};

template <class T, class W = T>
struct LatentBlockBackward {
  using Storage = T;
  const T* dy;
  const W* decoder_weight;
  const Compute<T>* stats;
  BasicLossWeight<Compute<T>> dkl = {};
  T* dz;
  GradMode dz_mode = GradMode::write;
  T* dstats;
  const W* weight;
  T* dx = nullptr;  // null: nobody wants it
  GradMode dx_mode = GradMode::write;
  Activation x_activation = Activation::identity;  // of x's producer, left to us
  const T* x = nullptr;                            // read if that needs it
  const void* x_aux = nullptr;
  int64_t batch, in, dim, hidden;
  NoiseSource noise = {};
};

template <class T, class W>
void latent_block_forward(const Exec& exec, const LatentBlockForward<T, W>& args);

template <class T, class W>
void latent_block_backward(const Exec& exec, const LatentBlockBackward<T, W>& args);

}  // namespace elbo
