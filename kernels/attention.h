// Self-attention with one head, as in the middle of a KL autoencoder: every position looks at all.
//
//   s = q k^T / sqrt(C),  p = softmax(s) by rows,  y = p v
//
// Shapes    q, k, v, y and their gradients [B, N, C] row-major (NHWC with N = H*W); p, work [B, N, N]
// Gradient  dp = dy v^T,  ds = p (dp - sum_j dp p);  dq = ds k / sqrt(C),  dk = ds^T q / sqrt(C),
//           dv = p^T dy. In this order: gradients may be one buffer, if all but the first add.
// Work      3 launches forward, up to 5 backward; 4 B N^2 C multiply-adds forward and backward 8. All of
//           p is kept: made for N of a few hundred.
// Numerics  scores, softmax and sums in fp32 (double for double) whatever the storage type; the maximum
//           of a row is taken out of its exponents. NaN in, NaN out.
// Errors    elbo::Error for a null operand. B, N or C == 0: a no-op, but C == 0 has no scale and is an error
// Source    Vaswani et al. 2017, arXiv:1706.03762; Rombach et al. 2021, arXiv:2112.10752 (AttnBlock)
#pragma once

#include <cstdint>

#include "kernels/exec.h"
#include "kernels/storage.h"

namespace elbo {

// T is float, bf16 or double (CPU only).
template <class T>
struct AttentionForward {
  int64_t batch, positions, channels;
  const T *q, *k, *v;
  Compute<T>* p;  // kept for backward
  T* y;
};

template <class T>
void attention_forward(const Exec& exec, const AttentionForward<T>& args);

template <class T>
struct AttentionBackward {
  int64_t batch, positions, channels;
  const T *q, *k, *v, *dy;
  const Compute<T>* p;
  Compute<T>* work;
  T *dq = nullptr, *dk = nullptr, *dv = nullptr;  // null: not wanted
  GradMode dq_mode = GradMode::write, dk_mode = GradMode::write, dv_mode = GradMode::write;
};

template <class T>
void attention_backward(const Exec& exec, const AttentionBackward<T>& args);

}  // namespace elbo
