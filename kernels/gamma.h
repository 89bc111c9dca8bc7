// What the gamma function adds to Stirling's formula, and its derivative psi to a logarithm.
//
//   stirling_error(x) = log Gamma(x) - ((x - 1/2) log x - x + 1/2 log 2 pi)
//   digamma_error(x)  = psi(x) - log x
// For large x they are about 1/(12x) and -1/(2x).
//
// Densities want these and not log Gamma itself: of the three in a beta density the large parts
// cancel, which is done on paper, and fp32 keeps what is left (kernels/pixel_formulas.h).
//
// Domain    x > 0
// Numerics  float: below 4 the argument is moved up by 4 through Gamma(x + 1) = x Gamma(x),
//           branch-free, the same bits on either device; error at most 1e-6 + 3e-7 |value|. double:
//           to about 1e-14.
// Source    Abramowitz & Stegun 1964, 6.1.40, 6.3.5 and 6.3.18
#pragma once

#include "kernels/math.h"

namespace elbo::math {

namespace detail {

inline constexpr float kGammaShift = 4.0f;

// x (x+1) (x+2) (x+3), and the sum of the reciprocals of its factors.
ELBO_HD float rising_product(float x) { return (x * (x + 1.0f)) * ((x + 2.0f) * (x + 3.0f)); }
ELBO_HD float rising_reciprocals(float x) {
  return fma(fma(fma(4.0f, x, 18.0f), x, 22.0f), x, 6.0f) / rising_product(x);
}

// The asymptotic series; from 4 on their first missing term is below 2e-9.
ELBO_HD float stirling_series(float y) {
  const float w = 1.0f / y, s = w * w;
  float p = 1.0f / 1188.0f;
  p = fma(p, s, -1.0f / 1680.0f);
  p = fma(p, s, 1.0f / 1260.0f);
  p = fma(p, s, -1.0f / 360.0f);
  p = fma(p, s, 1.0f / 12.0f);
  return p * w;
}
ELBO_HD float digamma_series(float y) {
  const float w = 1.0f / y, s = w * w;
  float p = -1.0f / 132.0f;
  p = fma(p, s, 1.0f / 240.0f);
  p = fma(p, s, -1.0f / 252.0f);
  p = fma(p, s, 1.0f / 120.0f);
  p = fma(p, s, -1.0f / 12.0f);
  return fma(p, s, -0.5f * w);
}

}  // namespace detail

ELBO_HD float stirling_error(float x) {
  const bool small = x < detail::kGammaShift;
  const float y = small ? x + detail::kGammaShift : x;
  const float square = y * y;
  const float moved = fma(x - 0.5f, log(y / x), log(square / detail::rising_product(x) * square)) -
                      detail::kGammaShift;
  return detail::stirling_series(y) + (small ? moved : 0.0f);
}
ELBO_HD float digamma_error(float x) {
  const bool small = x < detail::kGammaShift;
  const float y = small ? x + detail::kGammaShift : x;
  const float moved = log(y / x) - detail::rising_reciprocals(x);
  return detail::digamma_series(y) + (small ? moved : 0.0f);
}

// One step of the recurrence at a time, up to where eight terms are enough for double.
ELBO_HD double stirling_error(double x) {
  constexpr double kTerms[] = {1.0 / 12,   -1.0 / 360,      1.0 / 1260, -1.0 / 1680,
                               1.0 / 1188, -691.0 / 360360, 1.0 / 156,  -3617.0 / 122400};
  double sum = 0.0;
  for (; x < 16.0; x += 1.0) sum += (x + 0.5) * ::log1p(1.0 / x) - 1.0;
  double series = 0.0;
  for (int k = 7; k >= 0; --k) series = series / (x * x) + kTerms[k];
  return sum + series / x;
}
ELBO_HD double digamma_error(double x) {
  constexpr double kTerms[] = {-1.0 / 12,  1.0 / 120,     -1.0 / 252, 1.0 / 240,
                               -1.0 / 132, 691.0 / 32760, -1.0 / 12,  3617.0 / 8160};
  double sum = 0.0;
  for (; x < 16.0; x += 1.0) sum += ::log1p(1.0 / x) - 1.0 / x;
  double series = 0.0;
  for (int k = 7; k >= 0; --k) series = series / (x * x) + kTerms[k];
  return sum + series / (x * x) - 0.5 / x;
}

}  // namespace elbo::math
