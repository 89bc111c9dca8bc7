#include "kernels/contractive.h"

#include "kernels/error.h"
#include "kernels/launch.h"
#include "kernels/launch_cells.h"
#include "kernels/math.h"

namespace elbo {
namespace {

// The slope as a function of the activated value, and that function's derivative.
template <Activation A, class T>
ELBO_HD T slope_of(T y) {
  return activate_backward<A>(y, T(1));
}
template <Activation A, class T>
ELBO_HD T slope_derivative([[maybe_unused]] T y) {
  if constexpr (A == Activation::tanh) {
    return T(-2) * y;
  } else if constexpr (A == Activation::sigmoid) {
    return T(1) - T(2) * y;
  } else if constexpr (A == Activation::softplus) {
    return math::exp(-y);
  } else {
    return T(0);
  }
}

template <Activation A, class T>
struct SlopeForward {
  const T* y;
  T* s;
  ELBO_HD void operator()(int64_t i) const { s[i] = slope_of<A>(y[i]); }
};

template <Activation A, class T>
struct SlopeBackward {
  const T *y, *ds;
  T* dy;
  GradMode mode;
  ELBO_HD void operator()(int64_t i) const {
    put_gradient(dy[i], ds[i] * slope_derivative<A>(y[i]), mode);
  }
};

template <class T>
struct SquaredRow {
  static constexpr int kSums = 1;
  T* norms;

  template <class R>
  ELBO_HD void operator()(int64_t, int64_t, const R* w, R*, R* sums) const {
    sums[0] += w[0] * w[0];
  }
  template <class R>
  ELBO_HD void finish(int64_t row, const R* sums) const {
    norms[row] = sums[0];
  }
};

template <class T>
struct NormOfRow {
  static constexpr int kSums = 1;
  const T* row_norms;
  T* norm;

  template <class R>
  ELBO_HD void operator()(int64_t, int64_t j, const R* s, R*, R* sums) const {
    sums[0] += s[0] * s[0] * row_norms[j];
  }
  template <class R>
  ELBO_HD void finish(int64_t row, const R* sums) const {
    norm[row] = sums[0];
  }
};

template <class T>
struct SlopeGradient {
  const T *slope, *row_norms, *dnorm;
  T* dslope;
  int64_t out;
  GradMode mode;

  ELBO_HD void operator()(int64_t b, int64_t j) const {
    const int64_t i = b * out + j;
    put_gradient(dslope[i], T(2) * slope[i] * row_norms[j] * dnorm[b], mode);
  }
};

// What the batch wants of a row of W.
template <class T>
struct RowSum {
  static constexpr int kSums = 1;
  const T* dnorm;
  T* row_sums;

  template <class R>
  ELBO_HD void operator()(int64_t b, int64_t, const R* s, R*, R* sums) const {
    sums[0] += s[0] * s[0] * dnorm[b];
  }
  template <class R>
  ELBO_HD void finish(int64_t j, const R* sums) const {
    row_sums[j] = sums[0];
  }
};

template <class T>
struct WeightGradient {
  const T *weight, *row_sums;
  T* dweight;
  int64_t in;
  GradMode mode;

  ELBO_HD void operator()(int64_t j, int64_t i) const {
    put_gradient(dweight[j * in + i], T(2) * weight[j * in + i] * row_sums[j], mode);
  }
};

void check_slope(const char* op, int64_t n, Activation activation, const void* a, const void* b) {
  ELBO_CHECK(n == 0 || (a && b), op, ": a pointer is null");
  if (!needs_pre_activation(activation)) return;
  throw_error(ErrorCode::usage, "the slope of ", activation_name(activation),
              " does not follow from its value; a contractive penalty needs tanh, sigmoid, "
              "softplus, relu, leaky_relu or identity");
}

template <class T>
void check(const char* op, const JacobianNorm<T>& args, const void* other) {
  ELBO_CHECK(args.batch * args.out == 0 || (args.slope && args.weight && args.row_norms && other),
             op, ": a pointer is null");
}

}  // namespace

template <class T>
void activation_slope_forward(const Exec& exec, int64_t n, Activation activation, const T* y,
                              T* s) {
  check_slope("activation_slope_forward", n, activation, y, s);
  dispatch_activation(activation, [&]<Activation A>() {
    for_each_element<T>(exec, n, SlopeForward<A, T>{y, s});
  });
}

template <class T>
void activation_slope_backward(const Exec& exec, int64_t n, Activation activation, const T* y,
                               const T* ds, T* dy, GradMode mode) {
  check_slope("activation_slope_backward", n, activation, ds, dy);
  dispatch_activation(activation, [&]<Activation A>() {
    for_each_element<T>(exec, n, SlopeBackward<A, T>{y, ds, dy, mode});
  });
}

template <class T>
void jacobian_norm_forward(const Exec& exec, const JacobianNorm<T>& args, T* norm) {
  check("jacobian_norm_forward", args, norm);
  row_reduce(exec, args.out, args.in, SquaredRow<T>{args.row_norms},
             PointerPack<const T, 1>{{args.weight}}, NoPointers<T>{});
  row_reduce(exec, args.batch, args.out, NormOfRow<T>{args.row_norms, norm},
             PointerPack<const T, 1>{{args.slope}}, NoPointers<T>{});
}

template <class T>
void jacobian_norm_backward(const Exec& exec, const JacobianNorm<T>& args, const T* dnorm,
                            T* row_sums, T* dslope, GradMode slope_mode, T* dweight,
                            GradMode weight_mode) {
  check("jacobian_norm_backward", args, dnorm);
  if (dslope) {
    for_each_cell<T>(
        exec, args.batch, args.out,
        SlopeGradient<T>{args.slope, args.row_norms, dnorm, dslope, args.out, slope_mode});
  }
  if (!dweight) return;
  col_reduce(exec, args.batch, args.out, RowSum<T>{dnorm, row_sums},
             PointerPack<const T, 1>{{args.slope}}, NoPointers<T>{});
  for_each_cell<T>(exec, args.out, args.in,
                   WeightGradient<T>{args.weight, row_sums, dweight, args.in, weight_mode});
}

#define ELBO_INSTANTIATE(T)                                                                     \
  template void activation_slope_forward(const Exec&, int64_t, Activation, const T*, T*);       \
  template void activation_slope_backward(const Exec&, int64_t, Activation, const T*, const T*, \
                                          T*, GradMode);                                        \
  template void jacobian_norm_forward(const Exec&, const JacobianNorm<T>&, T*);                 \
  template void jacobian_norm_backward(const Exec&, const JacobianNorm<T>&, const T*, T*, T*,   \
                                       GradMode, T*, GradMode);
ELBO_INSTANTIATE(float)
ELBO_INSTANTIATE(double)
#undef ELBO_INSTANTIATE

}  // namespace elbo
