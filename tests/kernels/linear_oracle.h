// Brute-force double for the linear layer's tests: no code shared with the kernels, not even the
// activations, which here are libm's.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "kernels/activation.h"

namespace elbo::oracle {

struct LinearShape {
  int64_t batch, in, out;
};

inline std::string to_string(const LinearShape& s) {
  return std::to_string(s.batch) + "x" + std::to_string(s.in) + "->" + std::to_string(s.out);
}

// Sizes at and around the widths of vectors, warps and tiles, in mixed company; the last two are
// layers of the MNIST model at a small batch.
inline const std::vector<LinearShape> kShapes = {
    {1, 1, 1},     {1, 31, 33},    {31, 1, 32},   {32, 33, 1},   {32, 32, 32}, {33, 255, 31},
    {31, 257, 33}, {255, 33, 257}, {257, 32, 31}, {300, 65, 70}, {8, 784, 40}, {8, 20, 400}};

// What a value should be, and the sum of the magnitudes behind it, which bounds its rounding error.
struct Matrix {
  std::vector<double> value, magnitude;

  explicit Matrix(int64_t count) : value(count), magnitude(count) {}
};

// Rounding of a K-term fp32 sum is about sqrt(K) eps times the magnitude: 1e-6 at K = 300; this
// leaves a factor of 4.
inline constexpr double kTolerance = 4e-6;

inline void expect_near(const std::vector<float>& got, const Matrix& want, const std::string& what,
                        double tolerance = kTolerance) {
  ASSERT_EQ(got.size(), want.value.size()) << what;
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(got[i] - want.value[i]);
    // Negated, so that NaN fails.
    if (!(error <= tolerance * (1 + want.magnitude[i]))) {
      FAIL() << what << ": element " << i << " is " << got[i] << ", expected " << want.value[i]
             << " (magnitude " << want.magnitude[i] << ")";
    }
  }
}

class Numbers {
 public:
  explicit Numbers(uint32_t seed) : engine_(seed) {}

  std::vector<float> operator()(int64_t count) {
    std::vector<float> values(count);
    for (float& v : values) v = normal_(engine_);
    return values;
  }

 private:
  std::mt19937 engine_;
  std::normal_distribution<float> normal_;
};

// C[m,n] = sum_k A(m,k) B(k,n)
template <class A, class B>
Matrix product(int64_t rows, int64_t cols, int64_t inner, A a, B b) {
  Matrix c(rows * cols);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t n = 0; n < cols; ++n) {
      for (int64_t k = 0; k < inner; ++k) {
        const double term = double{a(r, k)} * double{b(k, n)};
        c.value[r * cols + n] += term;
        c.magnitude[r * cols + n] += std::abs(term);
      }
    }
  }
  return c;
}

inline Matrix forward(const LinearShape& s, const std::vector<float>& x,
                      const std::vector<float>& w, const std::vector<float>* bias) {
  Matrix pre = product(
      s.batch, s.out, s.in, [&](int64_t b, int64_t i) { return x[b * s.in + i]; },
      [&](int64_t i, int64_t o) { return w[o * s.in + i]; });
  for (int64_t i = 0; bias && i < s.batch * s.out; ++i) {
    pre.value[i] += (*bias)[i % s.out];
    pre.magnitude[i] += std::abs((*bias)[i % s.out]);
  }
  return pre;
}

inline Matrix backward_data(const LinearShape& s, const std::vector<float>& dy,
                            const std::vector<float>& w) {
  return product(
      s.batch, s.in, s.out, [&](int64_t b, int64_t o) { return dy[b * s.out + o]; },
      [&](int64_t o, int64_t i) { return w[o * s.in + i]; });
}

inline Matrix backward_weight(const LinearShape& s, const std::vector<float>& x,
                              const std::vector<float>& dy) {
  return product(
      s.out, s.in, s.batch, [&](int64_t o, int64_t b) { return dy[b * s.out + o]; },
      [&](int64_t b, int64_t i) { return x[b * s.in + i]; });
}

inline Matrix column_sums(const Matrix& m, int64_t cols) {
  Matrix sums(cols);
  for (size_t i = 0; i < m.value.size(); ++i) {
    sums.value[i % cols] += m.value[i];
    sums.magnitude[i % cols] += m.magnitude[i];
  }
  return sums;
}

inline Matrix matrix_of(const std::vector<float>& values) {
  Matrix m(static_cast<int64_t>(values.size()));
  for (size_t i = 0; i < values.size(); ++i) {
    m.value[i] = values[i];
    m.magnitude[i] = std::abs(values[i]);
  }
  return m;
}

inline void add_to(Matrix& m, const std::vector<float>& values) {
  for (size_t i = 0; i < values.size(); ++i) m.value[i] += values[i];
}

inline double activated(Activation a, double x) {
  const double sigmoid = 1 / (1 + std::exp(-x));
  switch (a) {
    case Activation::identity:
      return x;
    case Activation::relu:
      return x > 0 ? x : 0;
    case Activation::leaky_relu:
      return x > 0 ? x : 0.01 * x;
    case Activation::tanh:
      return std::tanh(x);
    case Activation::sigmoid:
      return sigmoid;
    case Activation::silu:
      return x * sigmoid;
    case Activation::gelu:
      return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case Activation::softplus:
      return std::log1p(std::exp(-std::abs(x))) + (x > 0 ? x : 0);
  }
  return 0;
}

// d activated / dx at the pre-activation x.
inline double slope(Activation a, double x) {
  const double sigmoid = 1 / (1 + std::exp(-x));
  switch (a) {
    case Activation::identity:
      return 1;
    case Activation::relu:
      return x > 0 ? 1 : 0;
    case Activation::leaky_relu:
      return x > 0 ? 1 : 0.01;
    case Activation::tanh:
      return 1 - std::tanh(x) * std::tanh(x);
    case Activation::sigmoid:
      return sigmoid * (1 - sigmoid);
    case Activation::silu:
      return sigmoid * (1 + x * (1 - sigmoid));
    case Activation::gelu:
      return 0.5 * std::erfc(-x / std::sqrt(2.0)) +
             x * std::exp(-0.5 * x * x) / std::sqrt(2 * M_PI);
    case Activation::softplus:
      return sigmoid;
  }
  return 0;
}

}  // namespace elbo::oracle
