// Activations: the functions, their derivatives, and what backward must have kept.
//
//   name        y(x)                           dy/dx                      backward reads
//   identity    x                              1                          y (unused)
//   relu        max(x, 0)                      [y > 0]                    y
//   leaky_relu  x >= 0 ? x : 0.01 x            y >= 0 ? 1 : 0.01          y
//   tanh        tanh x                         1 - y^2                    y
//   sigmoid     1 / (1 + e^-x)                 y (1 - y)                  y
//   softplus    log(1 + e^x)                   1 - e^-y                   y
//   silu        x s(x), s = sigmoid            s (1 + x (1 - s))          x
//   gelu        x Phi(x), Phi normal cdf       Phi(x) + x phi(x)          x
//
// Reading y lets the layer overwrite its pre-activation. silu and gelu are not monotonic, so y does
// not determine x and the pre-activation must be kept: needs_pre_activation().
// relu and leaky_relu have derivative 0 and 1 at 0, as PyTorch. gelu is the exact form
// (Hendrycks & Gimpel, arXiv:1606.08415), not its tanh approximation, which is off by up to 5e-4.
#pragma once

#include <string>
#include <string_view>

#include "kernels/error.h"
#include "kernels/math.h"
#include "kernels/portability.h"

namespace elbo {

enum class Activation : int { identity, relu, leaky_relu, tanh, sigmoid, silu, gelu, softplus };

inline constexpr Activation kActivations[] = {
    Activation::identity, Activation::relu, Activation::leaky_relu, Activation::tanh,
    Activation::sigmoid,  Activation::silu, Activation::gelu,       Activation::softplus};

inline constexpr double kLeakySlope = 0.01;  // PyTorch's default

constexpr bool needs_pre_activation(Activation a) {
  return a == Activation::silu || a == Activation::gelu;
}

template <Activation A, class T>
ELBO_HD T activate(T x) {
  using math::normal_cdf, math::sigmoid, math::softplus, math::tanh;  // dual numbers bring theirs
  if constexpr (A == Activation::relu) {
    return x > T(0) ? x : (x != x ? x : T(0));  // NaN stays NaN, so the tripwire sees it
  } else if constexpr (A == Activation::leaky_relu) {
    return x >= T(0) ? x : T(kLeakySlope) * x;
  } else if constexpr (A == Activation::tanh) {
    return tanh(x);
  } else if constexpr (A == Activation::sigmoid) {
    return sigmoid(x);
  } else if constexpr (A == Activation::silu) {
    return x * sigmoid(x);
  } else if constexpr (A == Activation::gelu) {
    return x * normal_cdf(x);
  } else if constexpr (A == Activation::softplus) {
    return softplus(x);
  } else {
    return x;
  }
}

// dx from dy. `kept` is the pre-activation x if needs_pre_activation(A), else the output y.
template <Activation A, class T>
ELBO_HD T activate_backward(T kept, T dy) {
  using math::expm1, math::fma, math::normal_cdf, math::normal_pdf, math::sigmoid;
  if constexpr (A == Activation::relu) {
    return kept > T(0) ? dy : T(0);
  } else if constexpr (A == Activation::leaky_relu) {
    return kept >= T(0) ? dy : T(kLeakySlope) * dy;
  } else if constexpr (A == Activation::tanh) {
    return dy * fma(-kept, kept, T(1));
  } else if constexpr (A == Activation::sigmoid) {
    return dy * (kept * (T(1) - kept));
  } else if constexpr (A == Activation::silu) {
    const T s = sigmoid(kept);
    return dy * (s * fma(kept, sigmoid(-kept), T(1)));  // 1 - s would cancel; e^-|x| is shared
  } else if constexpr (A == Activation::gelu) {
    return dy * fma(kept, normal_pdf(kept), normal_cdf(kept));
  } else if constexpr (A == Activation::softplus) {
    return dy * -expm1(-kept);  // sigmoid(x) = 1 - e^-softplus(x)
  } else {
    return dy;
  }
}

constexpr const char* activation_name(Activation a) {
  switch (a) {
    case Activation::identity:
      return "identity";
    case Activation::relu:
      return "relu";
    case Activation::leaky_relu:
      return "leaky_relu";
    case Activation::tanh:
      return "tanh";
    case Activation::sigmoid:
      return "sigmoid";
    case Activation::silu:
      return "silu";
    case Activation::gelu:
      return "gelu";
    case Activation::softplus:
      return "softplus";
  }
  return "unknown";
}

// elbo::Error (usage) that lists the valid names if there is no such activation.
inline Activation parse_activation(std::string_view name) {
  std::string valid;
  for (const Activation a : kActivations) {
    if (name == activation_name(a)) return a;
    valid += valid.empty() ? "" : ", ";
    valid += activation_name(a);
  }
  throw_error(ErrorCode::usage, "unknown activation '", name, "': expected one of ", valid);
}

// Calls f.template operator()<A>() for the activation known only at run time, so that the choice is
// made once per launch and not once per element.
template <class F>
constexpr auto dispatch_activation(Activation a, F&& f) {
  switch (a) {
    case Activation::relu:
      return f.template operator()<Activation::relu>();
    case Activation::leaky_relu:
      return f.template operator()<Activation::leaky_relu>();
    case Activation::tanh:
      return f.template operator()<Activation::tanh>();
    case Activation::sigmoid:
      return f.template operator()<Activation::sigmoid>();
    case Activation::silu:
      return f.template operator()<Activation::silu>();
    case Activation::gelu:
      return f.template operator()<Activation::gelu>();
    case Activation::softplus:
      return f.template operator()<Activation::softplus>();
    case Activation::identity:
      break;
  }
  return f.template operator()<Activation::identity>();
}

// For kernels that do so much for an element that choosing its activation there costs nothing.
template <class T>
ELBO_HD T activate(Activation a, T x) {
  return dispatch_activation(a, [&]<Activation A>() { return activate<A>(x); });
}
template <class T>
ELBO_HD T activate_backward(Activation a, T kept, T dy) {
  return dispatch_activation(a, [&]<Activation A>() { return activate_backward<A>(kept, dy); });
}

}  // namespace elbo
