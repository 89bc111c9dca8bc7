// Material of a discriminator that tells latents from latents whose dimensions were shuffled among images,
// and so estimates their total correlation (FactorVAE).
//
//   permute_dimensions   y[b,d] = z[b,d], y[B + b, d] = z[p_d(b), d]; each dimension has its own p_d, drawn
//                        anew every step. target[b] = 0, target[B + b] = 1
//   backward             dz[b,d] = dy[b,d]: shuffled rows are constants
//   ratio_weights        w[b] = -2 factor / sigmoid(l[b]), w[B + b] = 0
//
// l is the discriminator's logit that a row was shuffled, so -l estimates log q(z) - sum_d log q(z_d), whose
// mean over a batch the encoder minimises, times factor. The discriminator's own loss, the mean over 2 B
// rows of its cross-entropy, has the gradient sigmoid(l) / (2 B) at a row that was not shuffled. What it
// sends on to such a row is that times dl/dz; multiplied by w it is the gradient of factor mean(-l). So
// one pass through the discriminator serves both.
//
// Shapes    z, dz [B, D]; y, dy [2B, D]; target, l, w [2B]
// Units     l in nats
// Work      one launch each
// Numerics  T is float, or double on the CPU. Logits count as at least -60 in ratio_weights, where the
//           cross-entropy's gradient still is a normal number
// Errors    elbo::Error if a pointer is missing; B == 0 or D == 0 is a no-op
// Source    Kim & Mnih 2018, arXiv:1802.05983, section 3 and algorithms 1 and 2
#pragma once

#include <cstdint>

#include "kernels/exec.h"
#include "kernels/noise_source.h"
#include "kernels/storage.h"

namespace elbo {

template <class T>
struct PermuteDimensions {
  int64_t batch = 0, dim = 0;
  NoiseSource noise;
  const T* z = nullptr;
  T* y = nullptr;
  T* target = nullptr;
};

template <class T>
void permute_dimensions(const Exec& exec, const PermuteDimensions<T>& args);
template <class T>
void permute_dimensions_backward(const Exec& exec, int64_t batch, int64_t dim, const T* dy, T* dz,
                                 GradMode mode);
template <class T>
void ratio_weights(const Exec& exec, int64_t batch, float factor, const T* logits, T* w);

}  // namespace elbo
