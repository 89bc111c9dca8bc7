// Row-wise logsumexp, and softmax cross-entropy with its gradient in one pass.
//
//   logsumexp      y[r] = log sum_c exp(x[r,c])
//                  dx[r,c] (+)= dy[r] * exp(x[r,c] - y[r])
//   cross-entropy  loss[r] = logsumexp(x[r,:]) - x[r, label[r]]
//                  dlogits[r,c] (+)= weight_r * (exp(x[r,c] - logsumexp) - [c == label[r]])
//
// Shapes    x, dx, logits, dlogits [R, C] row-major, contiguous; y, dy, loss, labels [R]
// Units     cross-entropy in nats per row, not averaged over rows
// Gradient  as above; (+)= is GradMode. dlogits may be the same memory as logits, dx as x.
// Work      one launch each; a row is read two times (three with its gradient), from cache after
// the
//           first. On CUDA a warp owns a row, which suits rows of up to a few thousand.
// Numerics  the row's maximum is taken out first, so no exp overflows; the sum is fp32 in a fixed
//           order. A row of -inf, or of no columns, has logsumexp -inf and no gradient (NaN); +inf
//           gives +inf. A label outside [0, C) gives NaN for that row's loss and gradient, which
//           the finite check finds: a device cannot throw.
// Errors    elbo::Error if a pointer is missing; R == 0 is a no-op
#pragma once

#include <cstdint>

#include "kernels/exec.h"
#include "kernels/loss_weight.h"
#include "kernels/storage.h"

namespace elbo {

// T is float, bf16 or double (CPU only) throughout.
template <class T>
void logsumexp_forward(const Exec& exec, int64_t rows, int64_t cols, const T* x, Compute<T>* y);
template <class T>
void logsumexp_backward(const Exec& exec, int64_t rows, int64_t cols, const T* x,
                        const Compute<T>* y, const Compute<T>* dy, T* dx,
                        GradMode mode = GradMode::write);

template <class T>
struct SoftmaxCrossEntropy {
  const T* logits;
  const int32_t* labels;
  int64_t rows, cols;
  Compute<T>* loss = nullptr;  // either output may be left out
  T* dlogits = nullptr;
  BasicLossWeight<Compute<T>> weight = {};  // values are required with dlogits
  GradMode mode = GradMode::write;
};

template <class T>
void softmax_cross_entropy(const Exec& exec, const SoftmaxCrossEntropy<T>& args);

}  // namespace elbo
