// Scalar maths with the same bits on the CPU and on the GPU.
//
// The float functions are branch-free polynomials in explicit fmaf. They use only + - * fmaf, sqrt
// and division (correctly rounded on both devices), comparisons and integer operations, so with
// contraction off every compiler produces the same bits, and a CPU loop over them vectorises, which
// a call of libm does not. The double overloads are libm's, for tests and for the auditor, which
// must not share this file's mistakes. A dual number (tests/support/dual.h) brings its own
// overloads; the functions marked "any T" are written once and run on all three.
//
// Specials  NaN gives NaN (sign and payload unspecified), overflow gives infinity, denormal
//           arguments and results keep the bound.
// Error     and speed: largest error in units in the last place against libm in double (every 61st
//           float of the whole range), and ns per element of a loop over 4096 to 8192 elements
//           in cache on one Zen 4 core with AVX-512 and AVX2, beside glibc 2.36 one at a time:
//
//             function          max ulp   AVX-512   AVX2   glibc
//             exp                  0.97      0.37   0.57     3.2
//             expm1                1.41      0.47   0.67     8.5
//             expm1_minus_x        1.96      0.47   0.67     9.3
//             log                  0.89      0.37   0.61     3.8
//             log1p                0.88      0.31   0.49     6.6
//             tanh                 1.42      0.61   1.06    11.3
//             sigmoid              1.48      0.58   0.90     3.0
//             softplus             1.58      0.96   1.65     8.9
//             sincos_turns (both)  0.97      0.28   0.36     4.5
//             normal_pdf           1.33      0.51   0.85     3.0
//             normal_cdf           3.48      0.84   1.42    12.7
//             sqrt                 0.50      0.17   0.17     0.3
//
//           normal_cdf alone exceeds 2 ulp: a rational argument, a degree 9 polynomial and an exp
//           meet there. It stays relative in the left tail, where (1 + erff) / 2 has no digit left.
// Fits      weighted minimax (Lawson) with coefficients rounded to float one after the other.
//           Reductions: Cody & Waite 1980 for exp; N. Juffa's exponent split for log and log1p.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/portability.h"

namespace elbo::math {

ELBO_HD uint32_t bits_of(float x) { return __builtin_bit_cast(uint32_t, x); }
ELBO_HD float float_of(uint32_t bits) { return __builtin_bit_cast(float, bits); }

// Correctly rounded a * b + c, one rounding. Without FMA hardware glibc computes it in software:
// slower, same bits.
ELBO_HD float fma(float a, float b, float c) { return ::fmaf(a, b, c); }
ELBO_HD double fma(double a, double b, double c) { return ::fma(a, b, c); }

ELBO_HD float abs(float x) { return ::fabsf(x); }
ELBO_HD double abs(double x) { return ::fabs(x); }

ELBO_HD float sqrt(float x) { return ::sqrtf(x); }
ELBO_HD double sqrt(double x) { return ::sqrt(x); }

namespace detail {

inline constexpr float kInfinity = __builtin_inff();
inline constexpr float kLog2E = 0x1.715476p+0f;
// ln 2 in two floats: the first rounded, the second what is missing.
inline constexpr float kLn2High = 0x1.62e430p-1f;
inline constexpr float kLn2Low = -0x1.05c610p-29f;
// Adding and taking away 1.5 * 2^23 rounds a float below 2^22 to the nearest integer, and the sum's
// low mantissa bits are that integer.
inline constexpr float kRoundMagic = 0x1.8p+23f;

ELBO_HD float with_sign_of(float magnitude, float sign) {
  return float_of((bits_of(magnitude) & 0x7fffffffu) | (bits_of(sign) & 0x80000000u));
}

// x = n ln 2 + r with |r| <= ln 2 / 2, for |x| < 2^21. A NaN gives r = NaN and some n.
struct ExpReduction {
  int32_t n;
  float r;
};

ELBO_HD ExpReduction reduce_exp(float x) {
  const float shifted = fma(x, kLog2E, kRoundMagic);
  const float n = shifted - kRoundMagic;
  const float r = fma(n, -kLn2Low, fma(n, -kLn2High, x));
  return {static_cast<int32_t>(bits_of(shifted) - bits_of(kRoundMagic)), r};
}

// (e^r - 1 - r) / r^2 on |r| <= 0.5, relative error 2^-30.3.
ELBO_HD float exp_tail(float r) {
  float p = 0x1.a1e51ap-16f;
  p = fma(p, r, 0x1.a2a0d8p-13f);
  p = fma(p, r, 0x1.6c15bap-10f);
  p = fma(p, r, 0x1.110fccp-7f);
  p = fma(p, r, 0x1.555556p-5f);
  p = fma(p, r, 0x1.555556p-3f);
  return fma(p, r, 0.5f);
}

// factor * e^(x + correction), correction tiny. The power of two is applied in two halves, so that
// results near the ends of the range (n = 128, denormals) are rounded once; the factor comes in
// where e^r - 1 meets the one, so that it costs no rounding.
ELBO_HD float scaled_exp(float factor, float x, float correction) {
  float c = x > 89.0f ? 89.0f : x;  // e^89 overflows already
  c = c < -104.0f ? -104.0f : c;    // e^-104 < 2^-150 rounds to zero
  const ExpReduction split = reduce_exp(c);
  const float r = split.r + correction;
  const float p = fma(factor, fma(r * r, exp_tail(r), r), factor);
  // Unsigned: for a NaN, n is arbitrary and must not overflow.
  const int32_t half = split.n >> 1;
  const uint32_t rest = static_cast<uint32_t>(split.n) - static_cast<uint32_t>(half);
  return p * float_of((static_cast<uint32_t>(half) + 127u) << 23) * float_of((rest + 127u) << 23);
}

// log(1 + f) + e ln 2 on f in [-0.25, 0.5], fit error 2^-27.6.
ELBO_HD float log_from_parts(float f, float e) {
  float p = -0x1.7141c4p-5f;
  p = fma(p, f, 0x1.aca822p-4f);
  p = fma(p, f, -0x1.0d95eap-3f);
  p = fma(p, f, 0x1.28863ep-3f);
  p = fma(p, f, -0x1.54eebep-3f);
  p = fma(p, f, 0x1.99696ap-3f);
  p = fma(p, f, -0x1.000044p-2f);
  p = fma(p, f, 0x1.5555a4p-2f);
  p = fma(p, f, -0.5f);
  const float tail = fma(f * f, p, e * kLn2Low);
  return fma(e, kLn2High, f + tail);
}

// What to add to the formula's finite value so that log is right outside (0, inf): nothing inside.
// It is a sum and not a select of the value, because GCC would move the value's computation into
// the select's branch and then not vectorise; -0 because it changes no sum, not even -0.
ELBO_HD float log_special(float x) {
  const float positive = x < kInfinity ? -0.0f : kInfinity;
  const float not_positive = x == 0.0f ? -kInfinity : __builtin_nanf("");
  return x > 0.0f ? positive : not_positive;
}

// The exponent field that brings bits into [0.75, 1.5).
ELBO_HD uint32_t log_exponent(uint32_t bits) { return (bits - bits_of(0.75f)) & 0xff800000u; }

// That field as a number: exact, its integer value times 2^-23.
ELBO_HD float exponent_value(uint32_t field) {
  return static_cast<float>(static_cast<int32_t>(field)) * 0x1p-23f;
}

}  // namespace detail

ELBO_HD float exp(float x) { return detail::scaled_exp(1.0f, x, 0.0f); }
ELBO_HD double exp(double x) { return ::exp(x); }

// e^x - 1 - shift without cancellation: 2^n (e^r - 1) + (2^n - 1 - shift), at half scale so that
// n = 128 is finite. x <= 89.
namespace detail {
ELBO_HD float expm1_shifted(float x, float shift) {
  const float c = x < -20.0f ? -20.0f : x;  // e^-20 is below half an ulp of 1
  const ExpReduction split = reduce_exp(c);
  const float q = fma(split.r * split.r, exp_tail(split.r), split.r);
  const float half_scale = float_of((static_cast<uint32_t>(split.n) + 126u) << 23);
  return 2.0f * fma(half_scale, q, (half_scale - 0.5f) - 0.5f * shift);
}
}  // namespace detail

ELBO_HD float expm1(float x) {
  const float c = x > 89.0f ? 89.0f : x;
  const float small = fma(x * x, detail::exp_tail(x), x);
  const float large = detail::expm1_shifted(c, 0.0f);
  const float result = abs(x) < 0.5f ? small : large;
  return x == 0.0f ? x : result;
}
ELBO_HD double expm1(double x) { return ::expm1(x); }

// e^x - 1 - x, which is x^2 / 2 near zero, to full relative accuracy. It is the log-variance half
// of the Gaussian KL; taken as expm1(x) - x it would keep 13 bits at |x| = 1e-3 and none at 1e-7.
ELBO_HD float expm1_minus_x(float x) {
  const float c = x > 89.0f ? 89.0f : x;
  const float small = x * x * detail::exp_tail(x);
  const float large = detail::expm1_shifted(c, c);
  return abs(x) < 0.5f ? small : large;
}
ELBO_HD double expm1_minus_x(double x) {
  // Taylor by Horner; the 16th term is below 1e-19 of the first for |x| < 0.5.
  double series = 1.0;
  for (int k = 16; k > 2; --k) series = 1.0 + series * x / k;
  return ::fabs(x) < 0.5 ? 0.5 * x * x * series : ::expm1(x) - x;
}

ELBO_HD float log(float x) {
  const bool denormal = x < 0x1p-126f;
  const uint32_t bits = bits_of(x * (denormal ? 0x1p23f : 1.0f));
  const uint32_t field = detail::log_exponent(bits);
  const float f = float_of(bits - field) - 1.0f;
  const float e = detail::exponent_value(field) - (denormal ? 23.0f : 0.0f);
  return detail::log_from_parts(f, e) + detail::log_special(x);
}
ELBO_HD double log(double x) { return ::log(x); }

// The exponent comes from 1 + x; the mantissa from x itself, so nothing of a small x is lost.
ELBO_HD float log1p(float x) {
  const uint32_t field = detail::log_exponent(bits_of(1.0f + x));
  const float m = float_of(bits_of(x) - field);
  const float four_scales = float_of(bits_of(4.0f) - field);  // 4 * 2^-e, normal for every e
  const float f = m + fma(0.25f, four_scales, -1.0f);
  return detail::log_from_parts(f, detail::exponent_value(field)) + detail::log_special(1.0f + x);
}
ELBO_HD double log1p(double x) { return ::log1p(x); }

// An odd polynomial below 0.55, 1 - 2 / (e^2|x| + 1) above, where at most half an ulp is lost.
ELBO_HD float tanh(float x) {
  const float a = abs(x);
  const float s = a * a;
  float p = -0x1.99a222p-8f;
  p = fma(p, s, 0x1.58f682p-6f);
  p = fma(p, s, -0x1.b91fe6p-5f);
  p = fma(p, s, 0x1.110cf2p-3f);
  p = fma(p, s, -0x1.55554ap-2f);
  const float small = fma(p * s, a, a);
  const float large = 1.0f - 2.0f / (exp(2.0f * a) + 1.0f);
  const float magnitude = a < 0.55f ? small : large;
  return x == x ? detail::with_sign_of(magnitude, x) : x;
}
ELBO_HD double tanh(double x) { return ::tanh(x); }

struct SinCos {
  float sin, cos;
};

// sin and cos of 2 pi u, |u| < 2^20. Counting in turns makes the reduction to an eighth exact.
ELBO_HD SinCos sincos_turns(float u) {
  const float shifted = fma(4.0f, u, detail::kRoundMagic);
  const float quarter = shifted - detail::kRoundMagic;
  const uint32_t q = bits_of(shifted);  // quadrant in the low two bits
  const float f = fma(quarter, -0.25f, u);
  const float s = f * f;
  float p = -0x1.2db99ap+6f;
  p = fma(p, s, 0x1.465fb6p+6f);
  p = fma(p, s, -0x1.4abbbep+5f);
  const float two_pi_low = -0x1.777a5cp-23f;  // 2 pi is not a float: the rest is worth an ulp
  const float sine = fma(f, 0x1.921fb6p+2f, f * fma(p, s, two_pi_low));
  float c = 0x1.d46c88p+5f;
  c = fma(c, s, -0x1.55b130p+6f);
  c = fma(c, s, 0x1.03c1aep+6f);
  c = fma(c, s, -0x1.3bd3ccp+4f);
  const float cosine = fma(c, s, 1.0f);
  const bool swap = (q & 1u) != 0;
  const float sin_magnitude = swap ? cosine : sine;
  const float cos_magnitude = swap ? sine : cosine;
  return {float_of(bits_of(sin_magnitude) ^ ((q & 2u) << 30)),
          float_of(bits_of(cos_magnitude) ^ (((q + 1u) & 2u) << 30))};
}

// Density of the standard normal. x^2 is split in two floats: its rounding alone would cost 60 ulp
// in the tail.
ELBO_HD float normal_pdf(float x) {
  const float magnitude = abs(x);
  const float a = magnitude > 14.5f ? 14.5f : magnitude;  // e^-105 rounds to zero
  const float square = a * a;
  const float lost = fma(a, a, -square);
  return detail::scaled_exp(0x1.988454p-2f, -0.5f * square, -0.5f * lost);
}
ELBO_HD double normal_pdf(double x) { return 0.39894228040143267794 * ::exp(-0.5 * x * x); }

// Distribution function of the standard normal, accurate in both tails:
// Phi(-a) = e^(-a^2/2) P((a-4)/(a+4)) / (a+4) for a >= 0.
ELBO_HD float normal_cdf(float x) {
  const float magnitude = abs(x);
  const float a = magnitude > 14.5f ? 14.5f : magnitude;  // Phi(-14.5) rounds to zero
  const float inverse = 1.0f / (a + 4.0f);
  float t = (a - 4.0f) * inverse;
  t = fma(inverse, fma(t, -a, fma(t + 1.0f, -4.0f, a)), t);  // one Newton step: t exact to an ulp
  float p = -0x1.0fd750p-13f;
  p = fma(p, t, 0x1.930936p-13f);
  p = fma(p, t, 0x1.9e9a7ap-10f);
  p = fma(p, t, -0x1.cd5a10p-9f);
  p = fma(p, t, -0x1.edc31ap-8f);
  p = fma(p, t, 0x1.eed762p-5f);
  p = fma(p, t, -0x1.7dfefcp-3f);
  p = fma(p, t, 0x1.8c6d8ep-2f);
  p = fma(p, t, -0x1.373e3cp-1f);
  p = fma(p, t, 0x1.82b4bcp-1f);
  float ratio = p * inverse;
  ratio = fma(fma(-ratio, a + 4.0f, p), inverse, ratio);  // the quotient, rounded once
  const float square = a * a;
  const float lost = fma(a, a, -square);
  const float lower = detail::scaled_exp(ratio, -0.5f * square, -0.5f * lost);
  return x > 0.0f ? 1.0f - lower : lower;
}
ELBO_HD double normal_cdf(double x) { return 0.5 * ::erfc(-0.70710678118654752440 * x); }

// max(x, 0) with derivative 1 at 0, so that softplus below has derivative 1/2 there on dual
// numbers, whose |x| has derivative +1 at 0.
template <class T>  // any T
ELBO_HD T positive_part(T x) {
  return x >= T(0) ? x : T(0);
}

// 1 / (1 + e^-x). e^-|x| cannot overflow, and a small result keeps its relative accuracy.
template <class T>  // any T
ELBO_HD T sigmoid(T x) {
  const T e = exp(-abs(x));
  const T numerator = x >= T(0) ? T(1) : e;
  return numerator / (T(1) + e);
}
// The same, and the rounding error of 1 + e goes into the remainder of the division.
ELBO_HD float sigmoid(float x) {
  const float e = exp(-abs(x));
  const float numerator = x >= 0.0f ? 1.0f : e;
  const float denominator = 1.0f + e;
  const float lost = e - (denominator - 1.0f);
  const float inverse = 1.0f / denominator;
  const float quotient = numerator * inverse;
  const float remainder = fma(-quotient, lost, fma(-quotient, denominator, numerator));
  return fma(remainder, inverse, quotient);
}

// log(1 + e^x) = max(x, 0) + log1p(e^-|x|).
template <class T>  // any T
ELBO_HD T softplus(T x) {
  return positive_part(x) + log1p(exp(-abs(x)));
}

}  // namespace elbo::math
