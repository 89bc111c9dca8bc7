// The scalar formulas of a VAE, each once, each with its derivatives directly beside it.
//
// Templates on the number type: float runs them in kernels on either device, double on the oracle
// path, and a dual number (tests/support/dual.h) checks each derivative exactly, with no step size.
//
// Conventions  logvar is v = log sigma^2, already bounded: v = bounded_logvar(raw), where raw is
//              what a layer put out. The gradient of raw is that of v times
//              bounded_logvar_derivative(raw). f_da is the partial derivative of f with respect to
//              its argument a. Results are in nats per element; sums and means are the callers'.
#pragma once

#include "kernels/math.h"
#include "kernels/portability.h"

namespace elbo::formulas {

// Found for float and double here, for dual numbers by their own namespace. Without this list an
// unqualified sqrt(float) would quietly be libm's, in double.
using math::abs;
using math::exp;
using math::expm1;
using math::expm1_minus_x;
using math::fma;
using math::log;
using math::log1p;
using math::normal_cdf;
using math::normal_pdf;
using math::positive_part;
using math::sigmoid;
using math::softplus;
using math::sqrt;
using math::tanh;

// ---- Log-variance ------------------------------------------------------------------------------

// Where the compression starts; the bound is twice that. sigma stays within e^-10 .. e^10.
inline constexpr int kLogvarKnee = 10;

//   bounded(v) = v                        for |v| <= 10
//              = sign(v) (20 - 100/|v|)   beyond: 10 at 10, towards 20 at infinity, slope 1 at 10
//
// exp of an unbounded log-variance overflows and kills a run; a clamp has no gradient outside and
// never comes back. This one is C1 and its slope falls only as 100/v^2.
template <class T>
ELBO_HD T bounded_logvar(T raw) {
  const T magnitude = abs(raw);
  const T compressed = T(2 * kLogvarKnee) - T(kLogvarKnee * kLogvarKnee) / magnitude;
  const T signed_compressed = raw < T(0) ? -compressed : compressed;
  return magnitude <= T(kLogvarKnee) ? raw : signed_compressed;
}
template <class T>
ELBO_HD T bounded_logvar_derivative(T raw) {
  const T ratio = T(kLogvarKnee) / raw;
  return abs(raw) <= T(kLogvarKnee) ? T(1) : ratio * ratio;
}

// ---- Gaussian posterior -------------------------------------------------------------------------

//   z = mu + sigma eps,  sigma = e^(v/2)          Kingma & Welling, arXiv:1312.6114, section 2.4
template <class T>
ELBO_HD T gaussian_sample(T mu, T logvar, T eps) {
  return fma(exp(T(0.5) * logvar), eps, mu);
}
// dz/dmu = 1.
template <class T>
ELBO_HD T gaussian_sample_dlogvar(T logvar, T eps) {
  return T(0.5) * exp(T(0.5) * logvar) * eps;
}

//   KL(N(mu, sigma^2) || N(0, 1)) = (mu^2 + e^v - 1 - v) / 2          ibid., appendix B
//
// e^v - 1 - v is one function: near v = 0 it is v^2/2, and any subtraction would leave noise.
template <class T>
ELBO_HD T gaussian_kl(T mu, T logvar) {
  return T(0.5) * fma(mu, mu, expm1_minus_x(logvar));
}
template <class T>
ELBO_HD T gaussian_kl_dmu(T mu) {
  return mu;
}
template <class T>
ELBO_HD T gaussian_kl_dlogvar(T logvar) {
  return T(0.5) * expm1(logvar);
}

// ---- Likelihoods --------------------------------------------------------------------------------

// Bernoulli negative log-likelihood of a target x in [0, 1] (for grey targets: cross-entropy):
//
//   -x log s(l) - (1-x) log(1 - s(l)) = max(l, 0) - l x + log1p(e^-|l|),  s = sigmoid
//
// from -log s(l) = softplus(-l) and softplus(l) = softplus(-l) + l. Finite for every finite logit;
// taken through probabilities it is infinite from |l| = 17 on in fp32.
template <class T>
ELBO_HD T bernoulli_nll(T logit, T target) {
  return positive_part(logit) - logit * target + log1p(exp(-abs(logit)));
}
template <class T>
ELBO_HD T bernoulli_nll_dlogit(T logit, T target) {
  return sigmoid(logit) - target;
}

// Gaussian negative log-likelihood of `count` targets whose squared errors sum to `squares`, under
// one variance, constant included:
//
//   (squares / sigma^2 + count (v + log 2 pi)) / 2
//
// Squared error is its case of fixed v: at v = 0, SSE/2 and a constant.
template <class T>
ELBO_HD T gaussian_nll_of_squares(T squares, T count, T logvar) {
  const T log_two_pi = T(1.8378770664093454836);
  return T(0.5) * fma(squares, exp(-logvar), count * (logvar + log_two_pi));
}
template <class T>
ELBO_HD T gaussian_nll_of_squares_dlogvar(T squares, T count, T logvar) {
  return T(0.5) * fma(-squares, exp(-logvar), count);
}

// The same for one target.
template <class T>
ELBO_HD T gaussian_nll(T target, T mean, T logvar) {
  const T error = target - mean;
  return gaussian_nll_of_squares(error * error, T(1), logvar);
}
// precision = e^-v, which callers keep out of their loops.
template <class T>
ELBO_HD T gaussian_nll_dmean(T target, T mean, T precision) {
  return (mean - target) * precision;
}
template <class T>
ELBO_HD T gaussian_nll_dlogvar(T target, T mean, T precision) {
  const T error = target - mean;
  return T(0.5) * fma(-error * error, precision, T(1));
}

}  // namespace elbo::formulas
