// The update of all parameters of a group, in one launch over their flat span.
//
//   adam     m = b1 m + (1-b1) g,  v = b2 v + (1-b2) g^2,
//            p -= lr/(1-b1^t) m / (sqrt(v/(1-b2^t)) + eps)
//   adamw    the same with p *= 1 - lr*weight_decay first, and the decay kept out of g
//   sgd      p -= lr g;  with momentum: b = momentum*b + g,  p -= lr b
//            nesterov: p -= lr (g + momentum*b)
//   adagrad  s += g^2,  p -= lr g / (sqrt(s) + eps)
//
// where g = grad_scale * grad, plus weight_decay * p except in adamw. t = step + 1, lr and
// grad_scale come from device memory. The moments start as zeros. A step whose state->bad_op is
// set changes nothing: neither parameters nor moments.
//
// Shapes    param, grad, moment1, moment2 [count]; moment1 holds m, b or s, moment2 holds v
// Work      one launch; Adam reads 16 and writes 12 bytes per parameter, in 16-byte accesses where
//           all pointers are 16-byte aligned
// Numerics  fp32 element by element, with the scalars (1 - b^t and what follows from them) in fp64
//           once per block, rounded to fp32. Betas are fp64, as PyTorch's are: 1 - 0.999f is 1.3e-5
//           off. Matches torch.optim to rounding error.
// Errors    elbo::Error if a pointer that the kind needs is null; count == 0 is a no-op
// Source    torch.optim.{Adam, AdamW, SGD, Adagrad}, single-tensor path; Kingma & Ba 2014,
//           arXiv:1412.6980, algorithm 1; Loshchilov & Hutter 2017, arXiv:1711.05101
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/exec.h"
#include "kernels/step_state.h"
#include "kernels/storage.h"

namespace elbo {

enum class OptimizerKind : int { adam, adamw, sgd, adagrad };

struct OptimizerHyper {
  OptimizerKind kind = OptimizerKind::adam;
  double beta1 = 0.9;  // adam, adamw
  double beta2 = 0.999;
  float epsilon = 1e-8f;  // adam, adamw, adagrad (PyTorch's default for adagrad is 1e-10)
  float weight_decay = 0.0f;
  float momentum = 0.0f;  // sgd
  bool nesterov = false;
};

struct OptimizerStep {
  OptimizerHyper hyper;
  float* param;
  const float* grad;
  float* moment1;  // null where optimizer_moments() says it is not needed
  float* moment2;
  int64_t count;
  StepState* state;        // device memory
  bf16* shadow = nullptr;  // the parameters once more, rounded; may be null
  const StepRule* next_step =
      nullptr;  // host memory; given: advance_step() afterwards, in the same launch
};

// How many moment spans an optimiser needs: 0, 1 or 2.
size_t optimizer_moments(const OptimizerHyper& hyper);

void optimizer_step(const Exec& exec, const OptimizerStep& args);

}  // namespace elbo
