// One parameter's step under each optimiser, with PyTorch's semantics, term for term.
//
// Coefficients that depend only on the step are computed once, in double, by make_*; float
// per-element arithmetic follows. State starts at zero, steps count from 1.
//
// Source    Adam: Kingma & Ba, arXiv:1412.6980. AdamW: Loshchilov & Hutter, arXiv:1711.05101.
//           Adagrad: Duchi, Hazan, Singer 2011. SGD: Sutskever et al. 2013 in PyTorch's form, where
//           the learning rate multiplies the whole buffer.
#pragma once

#include <cstdint>

#include "kernels/math.h"
#include "kernels/portability.h"

namespace elbo {

// base^exponent by squaring: only products, so both devices get the same bits, which pow does not
// promise.
ELBO_HD double integer_power(double base, uint64_t exponent) {
  double result = 1.0;
  for (; exponent != 0; exponent >>= 1) {
    if ((exponent & 1u) != 0) result *= base;
    base *= base;
  }
  return result;
}

// ---- Adam, AdamW --------------------------------------------------------------------------------

struct AdamOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;  // outside the square root, as in the paper and in PyTorch
  double weight_decay = 0.0;
  bool decoupled = false;  // true is AdamW: the decay acts on the weight, not through the moments
};

template <class T>
struct AdamStep {
  T one_minus_beta1, beta2, one_minus_beta2;
  T step_size;              // lr / (1 - beta1^t)
  T inverse_root_correct2;  // 1 / sqrt(1 - beta2^t)
  T epsilon;
  T gradient_decay;  // L2: added to the gradient, times the weight
  T weight_factor;   // AdamW: 1 - lr * weight_decay
};

template <class T>
ELBO_HD AdamStep<T> make_adam_step(const AdamOptions& o, uint64_t step) {
  const double correct1 = 1.0 - integer_power(o.beta1, step);
  const double correct2 = 1.0 - integer_power(o.beta2, step);
  return {T(1.0 - o.beta1),
          T(o.beta2),
          T(1.0 - o.beta2),
          T(o.learning_rate / correct1),
          T(1.0 / math::sqrt(correct2)),
          T(o.epsilon),
          T(o.decoupled ? 0.0 : o.weight_decay),
          T(o.decoupled ? 1.0 - o.learning_rate * o.weight_decay : 1.0)};
}

//   g += decay w;  m += (1-b1)(g - m);  v = b2 v + (1-b2) g^2
//   w = w (1 - lr wd) - lr/(1-b1^t) * m / (sqrt(v)/sqrt(1-b2^t) + eps)
template <class T>
ELBO_HD void adam_update(const AdamStep<T>& s, T gradient, T& weight, T& m, T& v) {
  const T g = math::fma(s.gradient_decay, weight, gradient);
  m = math::fma(s.one_minus_beta1, g - m, m);
  v = math::fma(s.one_minus_beta2 * g, g, s.beta2 * v);
  const T denominator = math::fma(math::sqrt(v), s.inverse_root_correct2, s.epsilon);
  weight = math::fma(-s.step_size, m / denominator, weight * s.weight_factor);
}

// ---- SGD with momentum --------------------------------------------------------------------------

template <class T>
struct SgdStep {
  T learning_rate;
  T momentum;      // 0 is plain SGD; the buffer then holds the last gradient
  T weight_decay;  // L2
  bool nesterov;
};

//   g += wd w;  buf = momentum buf + g (dampening 0);  w -= lr (nesterov ? g + momentum buf : buf)
template <class T>
ELBO_HD void sgd_update(const SgdStep<T>& s, T gradient, T& weight, T& buffer) {
  const T g = math::fma(s.weight_decay, weight, gradient);
  buffer = math::fma(s.momentum, buffer, g);
  const T direction = s.nesterov ? math::fma(s.momentum, buffer, g) : buffer;
  weight = math::fma(-s.learning_rate, direction, weight);
}

// ---- Adagrad ------------------------------------------------------------------------------------

struct AdagradOptions {
  double learning_rate = 1e-2;
  double learning_rate_decay = 0.0;
  double epsilon = 1e-10;
  double weight_decay = 0.0;
};

template <class T>
struct AdagradStep {
  T learning_rate;  // lr / (1 + (t - 1) lr_decay)
  T epsilon;
  T weight_decay;
};

template <class T>
ELBO_HD AdagradStep<T> make_adagrad_step(const AdagradOptions& o, uint64_t step) {
  const double slowed = 1.0 + static_cast<double>(step - 1) * o.learning_rate_decay;
  return {T(o.learning_rate / slowed), T(o.epsilon), T(o.weight_decay)};
}

//   g += wd w;  sum += g^2;  w -= lr g / (sqrt(sum) + eps)
template <class T>
ELBO_HD void adagrad_update(const AdagradStep<T>& s, T gradient, T& weight, T& sum) {
  const T g = math::fma(s.weight_decay, weight, gradient);
  sum = math::fma(g, g, sum);
  weight = math::fma(-s.learning_rate, g / (math::sqrt(sum) + s.epsilon), weight);
}

}  // namespace elbo
