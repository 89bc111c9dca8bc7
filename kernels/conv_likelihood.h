// A decoder's last convolution with its likelihood: the output is never stored, only what follows from
// it. What kernels/likelihood_layer.h is to a linear layer.
//
//   output      = conv2d(x, W) + bias, or conv_transpose2d              logits, or means
//   nll[p,b]    = sum over the p-th part of sample b of -log p(target | output)
//   doutput     = weight_b * d nll / d output                         what the layer's backward starts from
//
// The loss of sample b is the sum of nll[p,b] over p; the functions _parts() say how many there are.
//
// Shapes    x, weight, bias as in kernels/conv2d.h; target, doutput as its y [B, H, W, C];
//           nll [parts, B]
// Units     nats per sample; a uint8 target stands for x/255
// Work      on CUDA with kernels of our own one launch; else the convolution, then bernoulli_nll or
//           gaussian_nll in place in doutput, and one part
// Numerics  as those of kernels/conv2d.h and the two likelihoods. Fused, the output is fp32 whatever T
//           is. The order of sums depends on the geometry only.
// Errors    elbo::Error as conv2d_forward, and if the target, doutput, nll or the weight of the loss is
//           null; batch == 0 is a no-op
#pragma once

#include <cstdint>

#include "kernels/conv_geometry.h"
#include "kernels/likelihood_layer.h"

namespace elbo {

// T is float, double (CPU only) or bf16 (CUDA only); Target is float, uint8_t, or T's double.
template <class T, class Target>
struct ConvLikelihood {
  ConvGeometry geometry;
  Likelihood likelihood = Likelihood::bernoulli;
  float log_variance = 0.0f;  // of the Gaussian, fixed
  const T* x;
  const T* weight;
  const Compute<T>* bias = nullptr;
  const Target* target;
  T* doutput;
  Compute<T>* nll;
  BasicLossWeight<Compute<T>> loss_weight = {};
};

template <class T, class Target>
void conv2d_likelihood(const Exec& exec, const ConvLikelihood<T, Target>& args);
template <class T, class Target>
void conv_transpose2d_likelihood(const Exec& exec, const ConvLikelihood<T, Target>& args);

template <class T>
int64_t conv2d_likelihood_parts(const Exec& exec, const ConvGeometry& geometry);
template <class T>
int64_t conv_transpose2d_likelihood_parts(const Exec& exec, const ConvGeometry& geometry);

}  // namespace elbo
