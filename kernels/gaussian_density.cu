#include "kernels/gaussian_density.h"

#include <algorithm>
#include <cmath>

#include "kernels/error.h"
#include "kernels/formulas.h"
#include "kernels/launch.h"
#include "kernels/launch_cells.h"

namespace elbo {
namespace {

// One component seen from one coordinate of z.
template <class T>
struct Component {
  T mu, raw, v;

  ELBO_HD Component(const GaussianDensity<T>& args, int64_t row, int64_t d)
      : mu(args.mu ? args.mu[row * args.stride + d] : T(0)),
        raw(args.logvar ? args.logvar[row * args.stride + d] : T(0)),
        v(formulas::bounded_logvar(raw)) {}

  ELBO_HD T log_density(T z) const { return -formulas::gaussian_nll(z, mu, v); }
  // d log N / d mu; the gradient of z is its negative.
  ELBO_HD T dmu(T z) const { return -formulas::gaussian_nll_dmean(z, mu, math::exp(-v)); }
  ELBO_HD T draw(T z) const {
    return -formulas::gaussian_nll_dlogvar(z, mu, math::exp(-v)) *
           formulas::bounded_logvar_derivative(raw);
  }
};

template <class T>
struct OwnDensity {
  static constexpr int kSums = 1;
  GaussianDensity<T> args;
  T* y;

  template <class R>
  ELBO_HD void operator()(int64_t row, int64_t d, const R*, R*, R* sums) const {
    sums[0] += Component<T>(args, row, d).log_density(args.z[row * args.dim + d]);
  }
  template <class R>
  ELBO_HD void finish(int64_t row, const R* sums) const {
    y[row] = sums[0];
  }
};

template <class T>
struct OwnDensityGradient {
  GaussianDensity<T> args;
  GaussianDensityGradient<T> out;

  ELBO_HD void operator()(int64_t row, int64_t d) const {
    const T z = args.z[row * args.dim + d], weight = out.upstream[row];
    const Component<T> component(args, row, d);
    const T dmu = weight * component.dmu(z);
    if (out.dz) put_gradient(out.dz[row * args.dim + d], -dmu, out.z_mode);
    if (!out.dmu) return;
    put_gradient(out.dmu[row * out.stride + d], dmu, out.stats_mode);
    put_gradient(out.dlogvar[row * out.stride + d], weight * component.draw(z), out.stats_mode);
  }
};

// A thread owns s[row, k] for all dimensions: it sums over them, or writes each.
template <class T>
struct PairScores {
  PairwiseDensity<T> args;
  T* s;

  ELBO_HD void operator()(int64_t row, int64_t k) const {
    const int64_t dim = args.rows.dim, components = args.components;
    const T weight = static_cast<T>(args.weights.at(row, k, components));
    T sum = weight;
    for (int64_t d = 0; d < dim; ++d) {
      const T term = Component<T>(args.rows, k, d).log_density(args.rows.z[row * dim + d]);
      if (args.per_dimension) {
        s[(row * dim + d) * components + k] = term + weight;
      } else {
        sum += term;
      }
    }
    if (!args.per_dimension) s[row * components + k] = sum;
  }
};

template <class T>
ELBO_HD T score_gradient(const PairwiseDensity<T>& args, const T* upstream, int64_t row, int64_t d,
                         int64_t k) {
  return upstream[(args.per_dimension ? row * args.rows.dim + d : row) * args.components + k];
}

template <class T>
struct PairGradientOfZ {
  PairwiseDensity<T> args;
  GaussianDensityGradient<T> out;

  ELBO_HD void operator()(int64_t row, int64_t d) const {
    const int64_t i = row * args.rows.dim + d;
    const T z = args.rows.z[i];
    T sum = T(0);
    for (int64_t k = 0; k < args.components; ++k) {
      sum -= score_gradient(args, out.upstream, row, d, k) * Component<T>(args.rows, k, d).dmu(z);
    }
    put_gradient(out.dz[i], sum, out.z_mode);
  }
};

template <class T>
struct PairGradientOfStats {
  PairwiseDensity<T> args;
  GaussianDensityGradient<T> out;

  ELBO_HD void operator()(int64_t k, int64_t d) const {
    const Component<T> component(args.rows, k, d);
    T dmu = T(0), draw = T(0);
    for (int64_t row = 0; row < args.rows.batch; ++row) {
      const T z = args.rows.z[row * args.rows.dim + d];
      const T weight = score_gradient(args, out.upstream, row, d, k);
      dmu += weight * component.dmu(z);
      draw += weight * component.draw(z);
    }
    put_gradient(out.dmu[k * out.stride + d], dmu, out.stats_mode);
    put_gradient(out.dlogvar[k * out.stride + d], draw, out.stats_mode);
  }
};

template <class T>
void check(const char* op, const GaussianDensity<T>& args, const void* other) {
  if (args.batch * args.dim == 0) return;
  ELBO_CHECK(args.z && other, op, ": ", args.z ? "the output or its gradient" : "z", " is null");
  ELBO_CHECK(!args.mu == !args.logvar, op, ": mu and logvar belong together; one is null");
}

}  // namespace

PairWeights PairWeights::uniform(int64_t components) {
  const float weight = -std::log(static_cast<float>(std::max<int64_t>(components, 1)));
  return {weight, weight, weight};
}

PairWeights PairWeights::stratified(int64_t batch, int64_t samples) {
  if (batch <= 1) return {};
  const auto n = static_cast<double>(std::max(samples, batch)), m = static_cast<double>(batch - 1);
  return {static_cast<float>(-std::log(n)), static_cast<float>(std::log((n - m) / (n * m))),
          static_cast<float>(-std::log(m))};
}

template <class T>
void gaussian_density_forward(const Exec& exec, const GaussianDensity<T>& args, T* y) {
  check("gaussian_density_forward", args, y);
  row_reduce(exec, args.batch, args.dim, OwnDensity<T>{args, y}, NoPointers<const T>{},
             NoPointers<T>{});
}

template <class T>
void gaussian_density_backward(const Exec& exec, const GaussianDensity<T>& args,
                               const GaussianDensityGradient<T>& gradient) {
  check("gaussian_density_backward", args, gradient.upstream);
  for_each_cell<T>(exec, args.batch, args.dim, OwnDensityGradient<T>{args, gradient});
}

template <class T>
void pairwise_density_forward(const Exec& exec, const PairwiseDensity<T>& args, T* s) {
  check("pairwise_density_forward", args.rows, s);
  for_each_cell<T>(exec, args.rows.batch, args.components, PairScores<T>{args, s});
}

template <class T>
void pairwise_density_backward(const Exec& exec, const PairwiseDensity<T>& args,
                               const GaussianDensityGradient<T>& gradient) {
  check("pairwise_density_backward", args.rows, gradient.upstream);
  const int64_t dim = args.rows.dim;
  if (gradient.dz) {
    for_each_cell<T>(exec, args.rows.batch, dim, PairGradientOfZ<T>{args, gradient});
  }
  if (gradient.dmu) {
    for_each_cell<T>(exec, args.components, dim, PairGradientOfStats<T>{args, gradient});
  }
}

#define ELBO_INSTANTIATE(T)                                                           \
  template void gaussian_density_forward(const Exec&, const GaussianDensity<T>&, T*); \
  template void gaussian_density_backward(const Exec&, const GaussianDensity<T>&,     \
                                          const GaussianDensityGradient<T>&);         \
  template void pairwise_density_forward(const Exec&, const PairwiseDensity<T>&, T*); \
  template void pairwise_density_backward(const Exec&, const PairwiseDensity<T>&,     \
                                          const GaussianDensityGradient<T>&);
ELBO_INSTANTIATE(float)
ELBO_INSTANTIATE(double)
#undef ELBO_INSTANTIATE

}  // namespace elbo
