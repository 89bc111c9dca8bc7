// The decoder's last layer with its likelihood: the output is never stored, only what follows from it.
//
//   output      = x W^T + bias                                        logits, or means
//   nll[p,b]    = sum over the p-th part of row b of -log p(target | output)
//   doutput     = weight_b * d nll / d output                         what the layer's backward starts from
//
// The loss of row b is the sum of nll[p,b] over p; likelihood_layer_parts() says how many there are.
//
// Shapes    x [B, in]; W [out, in]; bias [out]; target, doutput [B, out]; nll [parts, B]
// Units     nats per sample; a uint8 target stands for x/255
// Work      with tensor-core products (linear_uses_tensor_cores) one launch; else linear_forward, then
//           bernoulli_nll or gaussian_nll in place in doutput, and one part
// Numerics  as those of kernels/linear.h and the two likelihoods. The output is fp32 whatever T is,
//           except that without tensor-core products it is stored as T in between.
// Errors    elbo::Error if a pointer is null; B == 0 is a no-op
#pragma once

#include <cstdint>

#include "kernels/exec.h"
#include "kernels/likelihood.h"
#include "kernels/loss_weight.h"
#include "kernels/storage.h"

namespace elbo {

// T is float, double or bf16 (CUDA only); Target is float, uint8_t, or T's double.
template <class T, class Target>
struct LikelihoodLayer {
  Likelihood likelihood = Likelihood::bernoulli;  // or gaussian
  float log_variance = 0.0f;                      // of the Gaussian, fixed
  const T* x;
  const T* weight;
  const Compute<T>* bias = nullptr;
  const Target* target;
  T* doutput;
  Compute<T>* nll;
  BasicLossWeight<Compute<T>> loss_weight = {};
  int64_t batch, in, out;
};

template <class T, class Target>
void likelihood_layer(const Exec& exec, const LikelihoodLayer<T, Target>& args);

template <class T>
int64_t likelihood_layer_parts(const Exec& exec, int64_t batch, int64_t out);

}  // namespace elbo
