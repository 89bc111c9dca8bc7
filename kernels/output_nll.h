// Negative log-likelihoods of a decoder's output with their gradients, in one pass each. The
// Bernoulli and the Gaussian of one variance have headers of their own.
//
//   continuous_bernoulli_nll   output: logit
//   laplace_nll                output: median; one scale exp(log_scale) for all
//   gaussian_diagonal_nll      outputs: mean, log-variance (bounded_logvar)
//   logistic_nll               outputs: location, log-scale (bounded_log_scale); target a grey
//                              level
//   beta_nll                   outputs: what beta_parameter makes a and b of
//
//   nll[b] = sum_d -log p(target[b,d])          doutput = weight_b * d nll[b] / d output
//
// Shapes    target [B, D], D = pixels * channels, channels last; nll [B]; output, doutput [B, D],
//           or with two outputs per value [B, 2D]: of each pixel [first of every channel | second
//           of every channel]
// Units     nats per sample, summed over D and not averaged over B; a uint8 target stands for x/255
// Gradient  of the raw output, bounds included; doutput may be the same memory as output, which it
//           then replaces. With GradMode::add it is added to what doutput holds, and aliasing makes
//           no sense.
// Work      one launch; reads output and target once, writes doutput once; GradMode::add reads
//           doutput too
// Numerics  kernels/pixel_formulas.h; sums in fp32 in a fixed order; NaN in, NaN out
// Errors    elbo::Error if a pointer is missing, channels do not divide D, or D of two outputs is
//           2^22 or more. B == 0 is a no-op, D == 0 gives nll = 0.
// Source    named with each formula
#pragma once

#include <cstdint>

#include "kernels/exec.h"
#include "kernels/loss_weight.h"
#include "kernels/storage.h"

namespace elbo {

// T is float, bf16 or double; Target is float, uint8_t, or T's double.
template <class T, class Target>
struct OutputNll {
  const T* output;
  const Target* target;
  int64_t batch, dim;      // dim: values of the target per sample
  int64_t channels = 1;    // of a pixel; for two outputs per value
  float log_scale = 0.0f;  // of laplace_nll
  Compute<T>* nll = nullptr;
  T* doutput = nullptr;
  BasicLossWeight<Compute<T>> weight = {};  // values are required with doutput
  GradMode mode = GradMode::write;
};

template <class T, class Target>
void continuous_bernoulli_nll(const Exec& exec, const OutputNll<T, Target>& args);
template <class T, class Target>
void laplace_nll(const Exec& exec, const OutputNll<T, Target>& args);
template <class T, class Target>
void gaussian_diagonal_nll(const Exec& exec, const OutputNll<T, Target>& args);
template <class T, class Target>
void logistic_nll(const Exec& exec, const OutputNll<T, Target>& args);
template <class T, class Target>
void beta_nll(const Exec& exec, const OutputNll<T, Target>& args);

}  // namespace elbo
