// Forward-mode dual numbers: v + d * epsilon with epsilon^2 = 0. Running a formula on
// Dual<double>{x, 1} gives its exact derivative at x in .d, with no step size and no truncation
// error.
//
// The rules are written from the calculus, independently of the derivatives in kernels/, which they
// check. They live in elbo::math so that a formula finds them by argument-dependent lookup.
// At a kink the derivative from the right is taken, as kernels/math.h's positive_part expects.
#pragma once

#include "kernels/gamma.h"
#include "kernels/math.h"

namespace elbo::math {

template <class T>
struct Dual {
  T v{};  // value
  T d{};  // derivative

  constexpr Dual() = default;
  constexpr Dual(T value, T derivative) : v(value), d(derivative) {}
  template <class Number>
  explicit constexpr Dual(Number constant) : v(static_cast<T>(constant)) {}

  friend Dual operator-(Dual a) { return {-a.v, -a.d}; }
  friend Dual operator+(Dual a, Dual b) { return {a.v + b.v, a.d + b.d}; }
  friend Dual operator-(Dual a, Dual b) { return {a.v - b.v, a.d - b.d}; }
  friend Dual operator*(Dual a, Dual b) { return {a.v * b.v, a.d * b.v + a.v * b.d}; }
  friend Dual operator/(Dual a, Dual b) {
    return {a.v / b.v, (a.d * b.v - a.v * b.d) / (b.v * b.v)};
  }
  friend bool operator<(Dual a, Dual b) { return a.v < b.v; }
  friend bool operator>(Dual a, Dual b) { return a.v > b.v; }
  friend bool operator<=(Dual a, Dual b) { return a.v <= b.v; }
  friend bool operator>=(Dual a, Dual b) { return a.v >= b.v; }
  friend bool operator!=(Dual a, Dual b) { return a.v != b.v; }
};

template <class T>
Dual<T> variable(T x) {
  return {x, T(1)};
}
template <class T>
Dual<T> constant(T x) {
  return {x, T(0)};
}

template <class T>
Dual<T> abs(Dual<T> a) {
  return a.v < T(0) ? -a : a;
}
template <class T>
Dual<T> fma(Dual<T> a, Dual<T> b, Dual<T> c) {
  return a * b + c;
}
template <class T>
Dual<T> sqrt(Dual<T> a) {
  const T root = sqrt(a.v);
  return {root, a.d / (T(2) * root)};
}
template <class T>
Dual<T> exp(Dual<T> a) {
  const T e = exp(a.v);
  return {e, a.d * e};
}
template <class T>
Dual<T> expm1(Dual<T> a) {
  return {expm1(a.v), a.d * exp(a.v)};
}
template <class T>
Dual<T> expm1_minus_x(Dual<T> a) {
  return {expm1_minus_x(a.v), a.d * expm1(a.v)};
}
template <class T>
Dual<T> log(Dual<T> a) {
  return {log(a.v), a.d / a.v};
}
template <class T>
Dual<T> log1p(Dual<T> a) {
  return {log1p(a.v), a.d / (T(1) + a.v)};
}
// 1 / cosh^2 from exponentials: 1 - tanh^2 would cancel for large |x|.
template <class T>
Dual<T> tanh(Dual<T> a) {
  const T e = exp(-T(2) * abs(a.v));
  return {tanh(a.v), a.d * T(4) * e / ((T(1) + e) * (T(1) + e))};
}
template <class T>
Dual<T> normal_pdf(Dual<T> a) {
  const T density = normal_pdf(a.v);
  return {density, -a.d * a.v * density};
}
template <class T>
Dual<T> normal_cdf(Dual<T> a) {
  return {normal_cdf(a.v), a.d * normal_pdf(a.v)};
}
// d/dx ((x - 1/2) log x - x) = log x - 1 / (2x), and psi is the derivative of log Gamma.
template <class T>
Dual<T> stirling_error(Dual<T> a) {
  return {stirling_error(a.v), a.d * (digamma_error(a.v) + T(0.5) / a.v)};
}

}  // namespace elbo::math
