// The bound of images of which some have labels: the cost of every label, and a classifier's guess
// at it.
//
//   q[b,c]     = exp(logits[b,c] - log_sum[b])             log_sum = logsumexp of the row
//   r[b,c]     = [c == label_b] of a known label (label_b >= 0), else q[b,c]
//   cost[b,c]  = recon * nll[b,c] + kl_weight * kl[b,c] + log C           p(c) is 1/C
//   loss[b]    = cost[b,label_b] - label_weight * log q[b,label_b]        of a known label
//              = sum_c q[b,c] (cost[b,c] + log q[b,c])                    of a hidden one
//
//   label_weights         recon_rows = recon * r, kl_rows = kl_weight * r: what nll and kl of label
//                         c weigh; class_rows[b,c] = c: the labels to ask for
//   label_bound           loss, mean_nll[b] = sum_c r nll, mean_kl[b] = sum_c r kl
//   label_bound_backward  dlogits[b,c] (+)= weight_b * label_weight * (q - [c == label_b]), or of a
//                         hidden label weight_b * q (cost + log q - loss[b])
//
// The gradients of nll and kl begin where these are computed, with the rows' weights.
//
// Shapes    logits, kl, recon_rows, kl_rows, class_rows [B, C]; nll [parts, B, C], whose sum over
//           parts counts; label [B] int32, null: all are hidden; recon, kl_weight [1] in device
//           memory
// Units     nats per image
// Work      one launch each; a thread sums an image's labels, of which there are few
// Numerics  fp32, in the order of labels. A label of C or more gives NaN, which the finite check
//           finds.
// Errors    elbo::Error if a pointer is missing; B == 0 is a no-op
// Source    Kingma, Rezende, Mohamed & Welling 2014, arXiv:1406.5298, equations 6 to 9 (M2)
#pragma once

#include <cstdint>

#include "kernels/exec.h"
#include "kernels/loss_weight.h"
#include "kernels/storage.h"

namespace elbo {

// T is float, or double on the CPU, throughout.
template <class T>
struct LabelGuess {
  int64_t batch = 0, classes = 0;
  const T* logits = nullptr;
  const T* log_sum = nullptr;
  const int32_t* label = nullptr;
  const T* recon = nullptr;
  const T* kl_weight = nullptr;
};

template <class T>
struct LabelWeights {
  LabelGuess<T> guess;
  T* recon_rows = nullptr;
  T* kl_rows = nullptr;
  int32_t* class_rows = nullptr;
};

template <class T>
void label_weights(const Exec& exec, const LabelWeights<T>& args);

template <class T>
struct LabelBound {
  LabelGuess<T> guess;
  const T* nll = nullptr;
  int64_t parts = 1;
  const T* kl = nullptr;
  T label_weight = 0;
  T* loss = nullptr;  // read by the backward pass
  T* mean_nll = nullptr;
  T* mean_kl = nullptr;
};

template <class T>
void label_bound(const Exec& exec, const LabelBound<T>& args);

template <class T>
void label_bound_backward(const Exec& exec, const LabelBound<T>& args,
                          const BasicLossWeight<T>& weight, T* dlogits, GradMode mode);

}  // namespace elbo
