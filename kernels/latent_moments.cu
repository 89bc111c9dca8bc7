#include "kernels/latent_moments.h"

#include "kernels/error.h"
#include "kernels/formulas.h"
#include "kernels/launch.h"
#include "kernels/launch_cells.h"

namespace elbo {
namespace {

template <class T>
struct MeanKl {
  static constexpr int kSums = 1;
  LatentStats<T> args;
  T* y;

  template <class R>
  ELBO_HD void operator()(int64_t b, int64_t d, const R*, R*, R* sums) const {
    const int64_t i = b * args.stride + d;
    sums[0] += formulas::gaussian_kl(args.mu[i], formulas::bounded_logvar(args.logvar[i]));
  }
  template <class R>
  ELBO_HD void finish(int64_t d, const R* sums) const {
    y[d] = sums[0] / static_cast<T>(args.batch);
  }
};

template <class T>
struct MeanKlGradient {
  LatentStats<T> args;
  LatentStatsGradient<T> out;

  ELBO_HD void operator()(int64_t b, int64_t d) const {
    const int64_t i = b * args.stride + d, o = b * out.stride + d;
    const T weight = out.upstream[d] / static_cast<T>(args.batch), raw = args.logvar[i];
    put_gradient(out.dmu[o], weight * formulas::gaussian_kl_dmu(args.mu[i]), out.mode);
    put_gradient(out.dlogvar[o],
                 weight * formulas::gaussian_kl_dlogvar(formulas::bounded_logvar(raw)) *
                     formulas::bounded_logvar_derivative(raw),
                 out.mode);
  }
};

template <class T>
struct ColumnMean {
  static constexpr int kSums = 1;
  LatentStats<T> args;
  T* mean;

  template <class R>
  ELBO_HD void operator()(int64_t b, int64_t d, const R*, R*, R* sums) const {
    sums[0] += args.mu[b * args.stride + d];
  }
  template <class R>
  ELBO_HD void finish(int64_t d, const R* sums) const {
    mean[d] = sums[0] / static_cast<T>(args.batch);
  }
};

template <class T>
struct Covariance {
  LatentStats<T> args;
  const T* mean;
  T* c;

  ELBO_HD void operator()(int64_t i, int64_t j) const {
    T sum = T(0);
    for (int64_t b = 0; b < args.batch; ++b) {
      const T* mu = args.mu + b * args.stride;
      sum += (mu[i] - mean[i]) * (mu[j] - mean[j]);
      if (i == j && args.logvar) {
        sum += math::exp(formulas::bounded_logvar(args.logvar[b * args.stride + i]));
      }
    }
    c[i * args.dim + j] = sum / static_cast<T>(args.batch);
  }
};

template <class T>
struct CovarianceGradient {
  LatentStats<T> args;
  const T* mean;
  LatentStatsGradient<T> out;

  ELBO_HD void operator()(int64_t b, int64_t i) const {
    const T* mu = args.mu + b * args.stride;
    const T* dc = out.upstream;
    const T scale = T(1) / static_cast<T>(args.batch);
    T sum = T(0);
    for (int64_t j = 0; j < args.dim; ++j) {
      sum += (dc[i * args.dim + j] + dc[j * args.dim + i]) * (mu[j] - mean[j]);
    }
    put_gradient(out.dmu[b * out.stride + i], scale * sum, out.mode);
    if (!out.dlogvar) return;
    T dv = T(0);  // means alone do not depend on the variance, but somebody has to write
    if (args.logvar) {
      const T raw = args.logvar[b * args.stride + i];
      dv = scale * dc[i * args.dim + i] * math::exp(formulas::bounded_logvar(raw)) *
           formulas::bounded_logvar_derivative(raw);
    }
    put_gradient(out.dlogvar[b * out.stride + i], dv, out.mode);
  }
};

template <class T>
void check(const char* op, const LatentStats<T>& args, const void* other) {
  ELBO_CHECK(args.batch > 0, op, ": an empty batch has no moments");
  ELBO_CHECK((args.mu && other) || args.dim == 0, op, ": a pointer is null");
}

}  // namespace

template <class T>
void mean_kl_forward(const Exec& exec, const LatentStats<T>& args, T* y) {
  check("mean_kl_forward", args, y);
  col_reduce(exec, args.batch, args.dim, MeanKl<T>{args, y}, NoPointers<const T>{},
             NoPointers<T>{});
}

template <class T>
void mean_kl_backward(const Exec& exec, const LatentStats<T>& args,
                      const LatentStatsGradient<T>& gradient) {
  check("mean_kl_backward", args, gradient.upstream);
  for_each_cell<T>(exec, args.batch, args.dim, MeanKlGradient<T>{args, gradient});
}

template <class T>
void covariance_forward(const Exec& exec, const LatentStats<T>& args, T* mean, T* c) {
  check("covariance_forward", args, c);
  col_reduce(exec, args.batch, args.dim, ColumnMean<T>{args, mean}, NoPointers<const T>{},
             NoPointers<T>{});
  for_each_cell<T>(exec, args.dim, args.dim, Covariance<T>{args, mean, c});
}

template <class T>
void covariance_backward(const Exec& exec, const LatentStats<T>& args, const T* mean,
                         const LatentStatsGradient<T>& gradient) {
  check("covariance_backward", args, gradient.upstream);
  for_each_cell<T>(exec, args.batch, args.dim, CovarianceGradient<T>{args, mean, gradient});
}

#define ELBO_INSTANTIATE(T)                                                       \
  template void mean_kl_forward(const Exec&, const LatentStats<T>&, T*);          \
  template void mean_kl_backward(const Exec&, const LatentStats<T>&,              \
                                 const LatentStatsGradient<T>&);                  \
  template void covariance_forward(const Exec&, const LatentStats<T>&, T*, T*);   \
  template void covariance_backward(const Exec&, const LatentStats<T>&, const T*, \
                                    const LatentStatsGradient<T>&);
ELBO_INSTANTIATE(float)
ELBO_INSTANTIATE(double)
#undef ELBO_INSTANTIATE

}  // namespace elbo
