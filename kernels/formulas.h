// The scalar formulas of a VAE, each once, each with its derivative directly beside it.
//
// Templates on the number type: float runs them in kernels on either device, double in tests, and a
// dual number (tests/support/dual.h) checks each derivative exactly, with no step size.
//
// Conventions  raw_logvar is what a layer put out; logvar = bounded_logvar(raw_logvar) = log sigma^2.
//              Every formula here takes the raw value and its derivative is with respect to it.
//              Results are in nats per element; sums and means are the callers'.
//              `x_backward(..., dy)` returns dy times the partial derivatives of `x`.
#pragma once

#include "kernels/math.h"
#include "kernels/portability.h"

namespace elbo::math {

// ---- Log-variance ------------------------------------------------------------------------------

// Where the compression starts and half of the bound: sigma stays within e^-10 .. e^10.
inline constexpr int kLogvarKnee = 10;

//   bounded(v) = v                        for |v| <= 10
//              = sign(v) (20 - 100/|v|)   beyond: 10 at 10, towards 20 at infinity, slope 1 at 10
//
// exp of an unbounded log-variance overflows and kills a run; a clamp has zero gradient outside and
// never comes back. This one is C1 and its slope falls only as 100/v^2.
template <class T>
ELBO_HD T bounded_logvar(T raw) {
  const T magnitude = abs(raw);
  const T compressed = T(2 * kLogvarKnee) - T(kLogvarKnee * kLogvarKnee) / magnitude;
  const T signed_compressed = raw < T(0) ? -compressed : compressed;
  return magnitude <= T(kLogvarKnee) ? raw : signed_compressed;
}
// d bounded / d raw.
template <class T>
ELBO_HD T bounded_logvar_slope(T raw) {
  const T ratio = T(kLogvarKnee) / raw;
  return abs(raw) <= T(kLogvarKnee) ? T(1) : ratio * ratio;
}

// ---- Gaussian posterior --------------------------------------------------------------------------

template <class T>
struct GaussianGradient {
  T dmu, dlogvar;  // with respect to the mean and the raw log-variance
};

//   z = mu + sigma eps,  sigma = e^(logvar/2)          Kingma & Welling, arXiv:1312.6114, section 2.4
template <class T>
ELBO_HD T gaussian_sample(T mu, T raw_logvar, T eps) {
  return fma(exp(T(0.5) * bounded_logvar(raw_logvar)), eps, mu);
}
//   dz/dmu = 1,  dz/dlogvar = sigma eps / 2
template <class T>
ELBO_HD GaussianGradient<T> gaussian_sample_backward(T raw_logvar, T eps, T dz) {
  const T sigma = exp(T(0.5) * bounded_logvar(raw_logvar));
  return {dz, T(0.5) * dz * sigma * eps * bounded_logvar_slope(raw_logvar)};
}

//   KL(N(mu, sigma^2) || N(0, 1)) = (mu^2 + e^v - 1 - v) / 2,  v = logvar     ibid., appendix B
//
// e^v - 1 - v is one function: near v = 0 it is v^2/2, and any subtraction would leave noise.
template <class T>
ELBO_HD T gaussian_kl(T mu, T raw_logvar) {
  return T(0.5) * fma(mu, mu, expm1_minus_x(bounded_logvar(raw_logvar)));
}
//   dKL/dmu = mu,  dKL/dv = (e^v - 1) / 2
template <class T>
ELBO_HD GaussianGradient<T> gaussian_kl_backward(T mu, T raw_logvar, T dkl) {
  return {dkl * mu,
          T(0.5) * dkl * expm1(bounded_logvar(raw_logvar)) * bounded_logvar_slope(raw_logvar)};
}

// ---- Likelihoods -----------------------------------------------------------------------------------

// Bernoulli negative log-likelihood of a target x in [0, 1] (grey targets: cross-entropy):
//
//   -x log s(l) - (1-x) log(1 - s(l)) = max(l, 0) - l x + log1p(e^-|l|),  s = sigmoid
//
// from -log s(l) = softplus(-l) and softplus(l) = softplus(-l) + l. Finite for every finite logit;
// through probabilities it is infinite from |l| = 17 on in fp32.
template <class T>
ELBO_HD T bernoulli_nll(T logit, T x) {
  return positive_part(logit) - logit * x + log1p(exp(-abs(logit)));
}
template <class T>
ELBO_HD T bernoulli_nll_backward(T logit, T x, T dnll) {
  return dnll * (sigmoid(logit) - x);
}

// Gaussian negative log-likelihood of x under N(mean, sigma^2), constant included:
//
//   ((x - mean)^2 / sigma^2 + v + log 2 pi) / 2,  v = logvar = log sigma^2
//
// Squared error is its case of fixed v: at v = 0, SSE/2 and a constant.
template <class T>
ELBO_HD T gaussian_nll(T mean, T raw_logvar, T x) {
  const T logvar = bounded_logvar(raw_logvar);
  const T difference = x - mean;
  const T log_two_pi = T(1.8378770664093454836);
  return T(0.5) * (fma(difference * difference, exp(-logvar), logvar) + log_two_pi);
}
//   d/dmean = (mean - x) / sigma^2,  d/dv = (1 - (x - mean)^2 / sigma^2) / 2
template <class T>
ELBO_HD GaussianGradient<T> gaussian_nll_backward(T mean, T raw_logvar, T x, T dnll) {
  const T inverse_variance = exp(-bounded_logvar(raw_logvar));
  const T difference = mean - x;
  const T dlogvar = T(0.5) * (T(1) - difference * difference * inverse_variance);
  return {dnll * difference * inverse_variance, dnll * dlogvar * bounded_logvar_slope(raw_logvar)};
}

}  // namespace elbo::math
