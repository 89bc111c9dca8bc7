// Negative log-likelihoods of one value of a picture, each once with its derivatives beside it; the
// Bernoulli and the Gaussian are in kernels/formulas.h, whose conventions hold here too.
//
// Conventions  x is the value in [0, 1]. Raw outputs of a network are bounded or made positive by
//              the functions here that say so; derivatives are by what the density takes, and those
//              of the raw outputs are these times the bound's own derivative. Nats per value.
#pragma once

#include "kernels/formulas.h"
#include "kernels/gamma.h"

namespace elbo::formulas {

using math::digamma_error;
using math::stirling_error;

// The raw value that bounded_logvar makes v of, for v in [-19, 19]; beyond, that of the nearer end.
template <class T>
ELBO_HD T bounded_logvar_inverse(T v) {
  const T low = v < T(-19) ? T(-19) : v;
  const T kept = low > T(19) ? T(19) : low;
  const T stretched = T(kLogvarKnee * kLogvarKnee) / (T(2 * kLogvarKnee) - abs(kept));
  const T signed_stretched = kept < T(0) ? -stretched : stretched;
  return abs(kept) <= T(kLogvarKnee) ? v : signed_stretched;
}

// A log-scale is half a log-variance: unchanged for |raw| <= 5, beyond compressed towards +-10.
template <class T>
ELBO_HD T bounded_log_scale(T raw) {
  return T(0.5) * bounded_logvar(T(2) * raw);
}
template <class T>
ELBO_HD T bounded_log_scale_derivative(T raw) {
  return bounded_logvar_derivative(T(2) * raw);
}

// ---- Continuous Bernoulli -----------------------------------------------------------------------

// p(x) = C s^x (1 - s)^(1 - x) on [0, 1], s = sigmoid(l). With the normaliser C written out it is
// an exponential family:   -log p(x) = A(l) - l x,   A(l) = log((e^l - 1) / l)
//
// Its mean A'(l) = 1 / (1 - e^-l) - 1 / l loses all digits as l -> 0, where s -> 1/2. For |l| < 1
// the Taylor series are used: what is left out of A is below 5e-11, out of A' below 6e-10.
// Source  Loaiza-Ganem & Cunningham 2019, arXiv:1907.06845
template <class T>
ELBO_HD T continuous_bernoulli_log_normaliser(T logit) {
  const T magnitude = abs(logit), square = logit * logit;
  T series = T(1.0 / 479001600.0);
  series = fma(series, square, T(-1.0 / 9676800.0));
  series = fma(series, square, T(1.0 / 181440.0));
  series = fma(series, square, T(-1.0 / 2880.0));
  series = fma(series, square, T(1.0 / 24.0));
  const T near = fma(series, square, T(0.5) * logit);
  const T away = magnitude < T(1) ? T(1) : magnitude;  // a divisor for both branches
  const T far = positive_part(logit) + log(-expm1(-away) / away);
  return magnitude < T(1) ? near : far;
}
template <class T>
ELBO_HD T continuous_bernoulli_mean(T logit) {
  const T magnitude = abs(logit), square = logit * logit;
  T series = T(1.0 / 47900160.0);
  series = fma(series, square, T(-1.0 / 1209600.0));
  series = fma(series, square, T(1.0 / 30240.0));
  series = fma(series, square, T(-1.0 / 720.0));
  series = fma(series, square, T(1.0 / 12.0));
  const T near = fma(series, logit, T(0.5));
  const T away = magnitude < T(1) ? T(1) : magnitude;
  const T below_half = T(1) / away - T(1) / expm1(away);
  const T far = logit < T(0) ? below_half : T(1) - below_half;
  return magnitude < T(1) ? near : far;
}
template <class T>
ELBO_HD T continuous_bernoulli_nll(T logit, T x) {
  return continuous_bernoulli_log_normaliser(logit) - logit * x;
}
template <class T>
ELBO_HD T continuous_bernoulli_nll_dlogit(T logit, T x) {
  return continuous_bernoulli_mean(logit) - x;
}

// ---- Laplace ------------------------------------------------------------------------------------

// Of `count` values whose absolute errors sum to `errors`, under one scale b = e^log_scale:
//
//   errors / b + count (log_scale + log 2)
template <class T>
ELBO_HD T laplace_nll_of_errors(T errors, T count, T log_scale) {
  return fma(errors, exp(-log_scale), count * (log_scale + T(0.69314718055994530942)));
}
// By the median, without the factor 1/b; 0 at the kink.
template <class T>
ELBO_HD T laplace_nll_direction(T x, T median) {
  const T above = median > x ? T(1) : T(0);
  return median < x ? T(-1) : above;
}

// ---- Discretised logistic -----------------------------------------------------------------------

// The probability of grey level x in {0, 1/255, ..., 1} under a logistic distribution of location m
// and scale s = e^log_scale: what falls into its bin, half a level to either side, the bins at the
// edges open.   P = sigmoid(p) - sigmoid(q),   p, q = (x - m +- 1/510) / s
//
// As one difference it is 0 in fp32 from |x - m| = 17 s on. Multiplied out it is
//   sigmoid(p) sigmoid(-q) (1 - e^-(p - q)),
// whose logarithms are exact sums; an open bin drops what belongs to its missing edge.
// Source  Salimans et al. 2017, arXiv:1701.05517; Maechler 2012 for log(1 - e^-d)
template <class T>
struct LogisticBin {
  T inverse_scale;
  T upper, lower, width;  // p, q and p - q
  bool has_upper, has_lower;

  ELBO_HD LogisticBin(T x, T location, T log_scale) {
    const T half = T(1.0 / 510.0);
    inverse_scale = exp(-log_scale);
    upper = (x - location + half) * inverse_scale;
    lower = (x - location - half) * inverse_scale;
    width = T(2) * half * inverse_scale;
    has_upper = x < T(1) - half;
    has_lower = x > half;
  }
};

// log(1 - e^-d), d > 0.
template <class T>
ELBO_HD T log_one_minus_exp(T d) {
  const bool small = d < T(0.6931);
  const T near = log(-expm1(small ? -d : T(-1)));
  const T far = log1p(-exp(small ? T(-1) : -d));
  return small ? near : far;
}

template <class T>
ELBO_HD T logistic_nll(T x, T location, T log_scale) {
  const LogisticBin<T> bin(x, location, log_scale);
  const T above = bin.has_upper ? softplus(-bin.upper) : T(0);
  const T below = bin.has_lower ? softplus(bin.lower) : T(0);
  const T between = log_one_minus_exp(bin.width);
  return above + below - (bin.has_upper && bin.has_lower ? between : T(0));
}
template <class T>
ELBO_HD T logistic_nll_dlocation(T x, T location, T log_scale) {
  const LogisticBin<T> bin(x, location, log_scale);
  const T above = bin.has_upper ? sigmoid(-bin.upper) : T(0);
  const T below = bin.has_lower ? sigmoid(bin.lower) : T(0);
  return (above - below) * bin.inverse_scale;
}
template <class T>
ELBO_HD T logistic_nll_dlog_scale(T x, T location, T log_scale) {
  const LogisticBin<T> bin(x, location, log_scale);
  const T above = bin.has_upper ? bin.upper * sigmoid(-bin.upper) : T(0);
  const T below = bin.has_lower ? bin.lower * sigmoid(bin.lower) : T(0);
  const T between = bin.width / expm1(bin.width);
  return above - below + (bin.has_upper && bin.has_lower ? between : T(0));
}

// ---- Beta ---------------------------------------------------------------------------------------

// A beta distribution on (0, 1) is infinite or zero at the ends, where most pixels are. So it is
// put on (-1/510, 1 + 1/510): x = (256 t - 1/2) / 255 with t ~ Beta(a, b), and black is t = 1/512.
template <class T>
ELBO_HD T beta_inside(T x) {
  return fma(T(255), x, T(0.5)) * T(1.0 / 256.0);
}

// a, b = 1/64 + softplus(raw): positive however small softplus gets, so that the density stays
// bounded on what pixels can be. Below 1 it rises towards its end.
template <class T>
ELBO_HD T beta_parameter(T raw) {
  return T(1.0 / 64.0) + softplus(raw);
}
template <class T>
ELBO_HD T beta_parameter_derivative(T raw) {
  return sigmoid(raw);
}

// log((part / whole) / t) for positive numbers; `difference` is part / whole - t, which is given
// because near 0 the quotient has no digits left to take a logarithm of.
template <class T>
ELBO_HD T log_ratio(T part, T whole, T t, T difference) {
  const T relative = difference / t;
  const bool near = abs(relative) < T(0.5);
  const T close = log1p(near ? relative : T(0));
  const T apart = log(part / (whole * t));
  return near ? close : apart;
}

// Where the density is taken, and how far its mean a / (a + b) is from there.
template <class T>
struct BetaPoint {
  T t, rest, sum;                     // t, 1 - t, a + b
  T log_ratio_first, log_ratio_rest;  // log(a / (sum t)), log(b / (sum rest))

  ELBO_HD BetaPoint(T x, T a, T b) {
    t = beta_inside(x);
    rest = beta_inside(T(1) - x);
    sum = a + b;
    const T difference = (a * rest - b * t) / sum;
    log_ratio_first = log_ratio(a, sum, t, difference);
    log_ratio_rest = log_ratio(b, sum, rest, -difference);
  }
};

//   -log p(x) = log B(a, b) - (a - 1) log t - (b - 1) log(1 - t) - log(255/256)
//
// Stirling's formula in place of each log Gamma of log B: what grows with a + b is then a
// Kullback-Leibler divergence, small where the density is large, and no large numbers are
// subtracted.
template <class T>
ELBO_HD T beta_nll(T x, T a, T b) {
  const BetaPoint<T> at(x, a, b);
  const T divergence = a * at.log_ratio_first + b * at.log_ratio_rest;
  const T spread = log(at.t * (at.rest * at.sum) / a * (at.t * (at.rest / b)));
  const T constant = T(0.91893853320467274178 + 0.00391389932113632909);
  return divergence + T(0.5) * spread + constant + stirling_error(a) + stirling_error(b) -
         stirling_error(at.sum);
}
// psi(a) - psi(a + b) - log t, and the same of the other end.
template <class T>
ELBO_HD T beta_nll_da(T x, T a, T b) {
  const BetaPoint<T> at(x, a, b);
  return at.log_ratio_first + digamma_error(a) - digamma_error(at.sum);
}
template <class T>
ELBO_HD T beta_nll_db(T x, T a, T b) {
  const BetaPoint<T> at(x, a, b);
  return at.log_ratio_rest + digamma_error(b) - digamma_error(at.sum);
}
// Of x, which is what a picture shows.
template <class T>
ELBO_HD T beta_mean(T a, T b) {
  return (T(256) * (a / (a + b)) - T(0.5)) / T(255);
}

}  // namespace elbo::formulas
