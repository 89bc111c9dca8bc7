#include "kernels/loss_terms.h"

#include "kernels/error.h"
#include "kernels/formulas.h"
#include "kernels/launch.h"
#include "kernels/launch_cells.h"

namespace elbo {
namespace {

template <class T>
struct WeightedSum {
  static constexpr int kSums = 1;
  BasicLossWeight<T> weight;
  T* y;

  template <class R>
  ELBO_HD void operator()(int64_t b, const R* x, R* sums) const {
    sums[0] += weight.at(b) * x[0];
  }
  ELBO_HD void finish(const double* sums) const { y[0] = static_cast<T>(sums[0]); }
};

template <class T>
struct WeightedSumGradient {
  BasicLossWeight<T> weight;
  T* dx;
  GradMode mode;

  ELBO_HD void operator()(int64_t b) const { put_gradient(dx[b], weight.at(b), mode); }
};

// Functions of one number with their derivatives, for map_forward() and map_backward().

template <class T>
struct Shift {
  T c;
  ELBO_HD T value(T x) const { return x + c; }
};

template <class T>
struct AtLeast {
  T floor;
  ELBO_HD T value(T x) const { return x < floor ? floor : x; }
  ELBO_HD T derivative(T x) const { return x < floor ? T(0) : T(1); }
};

template <class T>
ELBO_HD T sign(T x) {
  return static_cast<T>((x > T(0)) - (x < T(0)));
}

template <class T>
struct Distance {
  const T* target;
  ELBO_HD T value(T x) const { return formulas::abs(x - target[0]); }
  ELBO_HD T derivative(T x) const { return sign(x - target[0]); }
};

template <class T>
struct BernoulliKl {
  static constexpr double kEdge = 1e-6;  // fp32 holds 1 - 1e-6; the slope there is 1e6 rho
  T rho;

  ELBO_HD T cut(T x) const {
    const T low = T(kEdge), high = T(1) - T(kEdge);
    return x < low ? low : x > high ? high : x;  // NaN stays NaN
  }
  ELBO_HD T term(T p, T q) const { return p > T(0) ? p * math::log(p / q) : T(0); }
  ELBO_HD T value(T x) const { return term(rho, cut(x)) + term(T(1) - rho, T(1) - cut(x)); }
  ELBO_HD T derivative(T x) const {
    const T q = cut(x);
    return (T(1) - rho) / (T(1) - q) - rho / q;
  }
};

template <class T, class F>
struct MapForward {
  F f;
  const T* x;
  T* y;
  ELBO_HD void operator()(int64_t i) const { y[i] = f.value(x[i]); }
};

template <class T, class F>
struct MapBackward {
  F f;
  const T *x, *dy;
  T* dx;
  GradMode mode;
  ELBO_HD void operator()(int64_t i) const {
    put_gradient(dx[i], dy[i] * f.derivative(x[i]), mode);
  }
};

template <class T>
struct L1Rows {
  static constexpr int kSums = 1;
  T* y;

  template <class R>
  ELBO_HD void operator()(int64_t, int64_t, const R* x, R*, R* sums) const {
    sums[0] += formulas::abs(x[0]);
  }
  template <class R>
  ELBO_HD void finish(int64_t row, const R* sums) const {
    y[row] = sums[0];
  }
};

template <class T>
struct L1RowsGradient {
  const T *x, *dy;
  T* dx;
  int64_t cols;
  GradMode mode;

  ELBO_HD void operator()(int64_t row, int64_t col) const {
    const int64_t i = row * cols + col;
    put_gradient(dx[i], dy[row] * sign(x[i]), mode);
  }
};

// What an element of the covariance is away from the identity, and what that costs.
template <class T>
struct DipElement {
  T distance, weight;

  ELBO_HD DipElement(int64_t i, int64_t dim, T c, const DipWeights& weights) {
    const bool diagonal = i / dim == i % dim;
    distance = diagonal ? c - T(1) : c;
    weight = static_cast<T>(diagonal ? weights.diagonal : weights.off_diagonal);
  }
};

template <class T>
struct DipPenalty {
  static constexpr int kSums = 1;
  int64_t dim;
  DipWeights weights;
  T* y;

  template <class R>
  ELBO_HD void operator()(int64_t i, const R* c, R* sums) const {
    const DipElement<R> element(i, dim, c[0], weights);
    sums[0] += element.weight * element.distance * element.distance;
  }
  ELBO_HD void finish(const double* sums) const { y[0] = static_cast<T>(sums[0]); }
};

template <class T>
struct DipPenaltyGradient {
  int64_t dim;
  DipWeights weights;
  const T *c, *dy;
  T* dc;
  GradMode mode;

  ELBO_HD void operator()(int64_t i) const {
    const DipElement<T> element(i, dim, c[i], weights);
    put_gradient(dc[i], dy[0] * T(2) * element.weight * element.distance, mode);
  }
};

template <class T>
struct ScaleRows {
  const T *dy, *w;
  T* dx;
  int64_t cols;
  GradMode mode;

  ELBO_HD void operator()(int64_t row, int64_t col) const {
    const int64_t i = row * cols + col;
    put_gradient(dx[i], w[row] * dy[i], mode);
  }
};

template <class T>
struct LogRatioWeights {
  const T *s, *log_sum;
  T* w;
  int64_t cols;

  ELBO_HD void operator()(int64_t row, int64_t col) const {
    const int64_t i = row * cols + col;
    w[i] = math::exp(s[i] - log_sum[row]);
  }
};

void check(const char* op, int64_t n, const void* a, const void* b) {
  ELBO_CHECK(n <= 0 || (a && b), op, ": a pointer is null");
}

template <class T, class F>
void map_forward(const Exec& exec, const char* op, int64_t n, const F& f, const T* x, T* y) {
  check(op, n, x, y);
  for_each_element<T>(exec, n, MapForward<T, F>{f, x, y});
}

template <class T, class F>
void map_backward(const Exec& exec, const char* op, int64_t n, const F& f, const T* x, const T* dy,
                  T* dx, GradMode mode) {
  check(op, n, x, dx);
  check(op, n, dy, dx);
  for_each_element<T>(exec, n, MapBackward<T, F>{f, x, dy, dx, mode});
}

}  // namespace

template <class T>
void weighted_sum(const Exec& exec, int64_t n, const T* x, const BasicLossWeight<T>& weight, T* y) {
  check("weighted_sum", n, x, weight.values);
  check("weighted_sum", 1, y, y);
  reduce(exec, n, WeightedSum<T>{weight, y}, PointerPack<const T, 1>{{x}});
}

template <class T>
void weighted_sum_backward(const Exec& exec, int64_t n, const BasicLossWeight<T>& weight, T* dx,
                           GradMode mode) {
  check("weighted_sum_backward", n, dx, weight.values);
  for_each_element<T>(exec, n, WeightedSumGradient<T>{weight, dx, mode});
}

template <class T>
void shift(const Exec& exec, int64_t n, const T* x, double c, T* y) {
  map_forward(exec, "shift", n, Shift<T>{static_cast<T>(c)}, x, y);
}

template <class T>
void scale_rows(const Exec& exec, int64_t rows, int64_t cols, const T* dy, const T* w, T* dx,
                GradMode mode) {
  check("scale_rows", rows * cols, dy, dx);
  check("scale_rows", rows * cols, w, dx);
  for_each_cell<T>(exec, rows, cols, ScaleRows<T>{dy, w, dx, cols, mode});
}

template <class T>
void at_least_forward(const Exec& exec, int64_t n, const T* x, float floor, T* y) {
  map_forward(exec, "at_least_forward", n, AtLeast<T>{T(floor)}, x, y);
}
template <class T>
void at_least_backward(const Exec& exec, int64_t n, const T* x, float floor, const T* dy, T* dx,
                       GradMode mode) {
  map_backward(exec, "at_least_backward", n, AtLeast<T>{T(floor)}, x, dy, dx, mode);
}

template <class T>
void distance_forward(const Exec& exec, int64_t n, const T* x, const T* target, T* y) {
  check("distance_forward", n, target, y);
  map_forward(exec, "distance_forward", n, Distance<T>{target}, x, y);
}
template <class T>
void distance_backward(const Exec& exec, int64_t n, const T* x, const T* target, const T* dy, T* dx,
                       GradMode mode) {
  check("distance_backward", n, target, dx);
  map_backward(exec, "distance_backward", n, Distance<T>{target}, x, dy, dx, mode);
}

template <class T>
void l1_rows_forward(const Exec& exec, int64_t rows, int64_t cols, const T* x, T* y) {
  check("l1_rows_forward", rows * cols, x, y);
  row_reduce(exec, rows, cols, L1Rows<T>{y}, PointerPack<const T, 1>{{x}}, NoPointers<T>{});
}
template <class T>
void l1_rows_backward(const Exec& exec, int64_t rows, int64_t cols, const T* x, const T* dy, T* dx,
                      GradMode mode) {
  check("l1_rows_backward", rows * cols, x, dx);
  check("l1_rows_backward", rows * cols, dy, dx);
  for_each_cell<T>(exec, rows, cols, L1RowsGradient<T>{x, dy, dx, cols, mode});
}

template <class T>
void bernoulli_kl_forward(const Exec& exec, int64_t n, float rho, const T* x, T* y) {
  map_forward(exec, "bernoulli_kl_forward", n, BernoulliKl<T>{T(rho)}, x, y);
}
template <class T>
void bernoulli_kl_backward(const Exec& exec, int64_t n, float rho, const T* x, const T* dy, T* dx,
                           GradMode mode) {
  map_backward(exec, "bernoulli_kl_backward", n, BernoulliKl<T>{T(rho)}, x, dy, dx, mode);
}

template <class T>
void dip_penalty_forward(const Exec& exec, int64_t dim, const T* c, const DipWeights& weights,
                         T* y) {
  check("dip_penalty_forward", dim, c, y);
  reduce(exec, dim * dim, DipPenalty<T>{dim, weights, y}, PointerPack<const T, 1>{{c}});
}
template <class T>
void dip_penalty_backward(const Exec& exec, int64_t dim, const T* c, const DipWeights& weights,
                          const T* dy, T* dc, GradMode mode) {
  check("dip_penalty_backward", dim, c, dc);
  check("dip_penalty_backward", dim, dy, dc);
  for_each_element<T>(exec, dim * dim, DipPenaltyGradient<T>{dim, weights, c, dy, dc, mode});
}

template <class T>
void log_ratio_weights(const Exec& exec, int64_t rows, int64_t cols, const T* s, const T* log_sum,
                       T* w) {
  check("log_ratio_weights", rows * cols, s, w);
  check("log_ratio_weights", rows * cols, log_sum, w);
  for_each_cell<T>(exec, rows, cols, LogRatioWeights<T>{s, log_sum, w, cols});
}

#define ELBO_INSTANTIATE(T)                                                                        \
  template void weighted_sum(const Exec&, int64_t, const T*, const BasicLossWeight<T>&, T*);       \
  template void weighted_sum_backward(const Exec&, int64_t, const BasicLossWeight<T>&, T*,         \
                                      GradMode);                                                   \
  template void shift(const Exec&, int64_t, const T*, double, T*);                                 \
  template void scale_rows(const Exec&, int64_t, int64_t, const T*, const T*, T*, GradMode);       \
  template void at_least_forward(const Exec&, int64_t, const T*, float, T*);                       \
  template void at_least_backward(const Exec&, int64_t, const T*, float, const T*, T*, GradMode);  \
  template void distance_forward(const Exec&, int64_t, const T*, const T*, T*);                    \
  template void distance_backward(const Exec&, int64_t, const T*, const T*, const T*, T*,          \
                                  GradMode);                                                       \
  template void l1_rows_forward(const Exec&, int64_t, int64_t, const T*, T*);                      \
  template void l1_rows_backward(const Exec&, int64_t, int64_t, const T*, const T*, T*, GradMode); \
  template void bernoulli_kl_forward(const Exec&, int64_t, float, const T*, T*);                   \
  template void bernoulli_kl_backward(const Exec&, int64_t, float, const T*, const T*, T*,         \
                                      GradMode);                                                   \
  template void dip_penalty_forward(const Exec&, int64_t, const T*, const DipWeights&, T*);        \
  template void dip_penalty_backward(const Exec&, int64_t, const T*, const DipWeights&, const T*,  \
                                     T*, GradMode);                                                \
  template void log_ratio_weights(const Exec&, int64_t, int64_t, const T*, const T*, T*);
ELBO_INSTANTIATE(float)
ELBO_INSTANTIATE(double)
#undef ELBO_INSTANTIATE

}  // namespace elbo
