// Bernoulli negative log-likelihood from logits, with its gradient, in one pass.
//
//   nll[b] = sum_d softplus(l) - x*l                       l = logits[b,d],  x = target[b,d] in [0,1]
//   dlogits[b,d] = weight_b * (sigmoid(l) - x)
//
// One launcher serves loss only (dlogits null), gradient only (nll null) and both. A grey target is
// the usual cross-entropy relaxation: at its best the loss is the entropy of the target, not zero.
//
// Shapes    logits, target, dlogits [B, D] row-major, contiguous; nll [B]
// Units     nats per sample, summed over D and not averaged over B; a uint8 target stands for x/255
// Gradient  as above; dlogits may be the same memory as logits, which it then replaces. With
//           GradMode::add it is added to what dlogits holds, and aliasing makes no sense. The
//           target gets no gradient.
// Work      one launch; reads logits and target once, writes dlogits once: 9BD bytes for float
//           logits and a uint8 target; GradMode::add reads dlogits too
// Numerics  max(l, 0) - l*x + log1p(exp(-|l|)): exact to 2 ulp per term, finite for every finite
//           logit; never a logarithm of a rounded sigmoid. The sum is fp32 in a fixed order. NaN in,
//           NaN out.
// Errors    elbo::Error if a pointer is missing. B == 0 is a no-op, D == 0 gives nll = 0.
// Source    Kingma & Welling 2013, arXiv:1312.6114, appendix C.1
#pragma once

#include <cstdint>

#include "kernels/exec.h"
#include "kernels/loss_weight.h"
#include "kernels/storage.h"

namespace elbo {

// T is float, bf16 or double; Target is float, uint8_t, or T's double.
template <class T, class Target>
struct BernoulliNll {
  const T* logits;
  const Target* target;
  int64_t batch, dim;
  Compute<T>* nll = nullptr;
  T* dlogits = nullptr;
  BasicLossWeight<Compute<T>> weight = {};  // values are required with dlogits
  GradMode mode = GradMode::write;
};

template <class T, class Target>
void bernoulli_nll(const Exec& exec, const BernoulliNll<T, Target>& args);

}  // namespace elbo
