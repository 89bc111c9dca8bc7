#include "kernels/gaussian_kl.h"

#include "kernels/error.h"
#include "kernels/formulas.h"
#include "kernels/launch.h"
#include "kernels/launch_cells.h"

namespace elbo {
namespace {

// The inputs of one element, read by index because rows may be further apart than they are long.
template <class T>
struct Posterior {
  const T* mu;
  const T* logvar;
  int64_t row_stride;

  ELBO_HD Compute<T> mean(int64_t row, int64_t col) const {
    return to_float(mu[row * row_stride + col]);
  }
  ELBO_HD Compute<T> raw_logvar(int64_t row, int64_t col) const {
    return to_float(logvar[row * row_stride + col]);
  }
};

// Sums of rows (scale 1) or of columns (scale 1/batch).
template <class T>
struct GaussianKlSum {
  using R = Compute<T>;
  static constexpr int kSums = 1;

  Posterior<T> posterior;
  R scale;
  R* kl;

  ELBO_HD void operator()(int64_t row, int64_t col, const R*, R*, R* sums) const {
    const R v = formulas::bounded_logvar(posterior.raw_logvar(row, col));
    sums[0] += formulas::gaussian_kl(posterior.mean(row, col), v);
  }
  ELBO_HD void finish(int64_t line, const R* sums) const { kl[line] = scale * sums[0]; }
};

template <class T>
struct GaussianKlGradient {
  using R = Compute<T>;

  Posterior<T> posterior;
  BasicLossWeight<R> dkl;
  T* dmu;
  T* dlogvar;
  int64_t grad_row_stride;
  GradMode mode;

  ELBO_HD void operator()(int64_t row, int64_t col) const {
    const R weight = dkl.at(row);
    const R raw = posterior.raw_logvar(row, col);
    const R v = formulas::bounded_logvar(raw);
    R dm = weight * formulas::gaussian_kl_dmu(posterior.mean(row, col));
    R dv = weight * formulas::gaussian_kl_dlogvar(v) * formulas::bounded_logvar_derivative(raw);
    const int64_t i = row * grad_row_stride + col;
    if (mode == GradMode::add) {
      dm += to_float(dmu[i]);
      dv += to_float(dlogvar[i]);
    }
    dmu[i] = from_float<T>(dm);
    dlogvar[i] = from_float<T>(dv);
  }
};

}  // namespace

template <class T>
void gaussian_kl_forward(const Exec& exec, const GaussianKlForward<T>& args) {
  using R = Compute<T>;
  const int64_t batch = args.batch, dim = args.dim;
  ELBO_CHECK(batch * dim == 0 || (args.mu && args.logvar),
             "gaussian_kl_forward: ", args.mu ? "logvar" : "mu", " is null");
  ELBO_CHECK(args.row_stride >= dim, "gaussian_kl_forward: rows of ", dim, " elements are ",
             args.row_stride, " apart; the stride must be at least the length");
  const Posterior<T> posterior{args.mu, args.logvar, args.row_stride};
  if (args.kl) {
    row_reduce(exec, batch, dim, GaussianKlSum<T>{posterior, R{1}, args.kl}, NoPointers<const T>{},
               NoPointers<T>{});
  }
  if (args.kl_dim) {
    const R mean = R{1} / static_cast<R>(batch > 0 ? batch : 1);
    col_reduce(exec, batch, dim, GaussianKlSum<T>{posterior, mean, args.kl_dim},
               NoPointers<const T>{}, NoPointers<T>{});
  }
}

template <class T>
void gaussian_kl_backward(const Exec& exec, const GaussianKlBackward<T>& args) {
  if (args.batch * args.dim == 0) return;
  ELBO_CHECK(args.mu && args.logvar && args.dmu && args.dlogvar && args.dkl.values,
             "gaussian_kl_backward: mu, logvar, dmu, dlogvar and dkl.values must not be null");
  ELBO_CHECK(args.row_stride >= args.dim && args.grad_row_stride >= args.dim,
             "gaussian_kl_backward: rows of ", args.dim, " elements are ", args.row_stride, " and ",
             args.grad_row_stride, " apart; a stride must be at least the length");
  for_each_cell<T>(exec, args.batch, args.dim,
                   GaussianKlGradient<T>{{args.mu, args.logvar, args.row_stride},
                                         args.dkl,
                                         args.dmu,
                                         args.dlogvar,
                                         args.grad_row_stride,
                                         args.mode});
}

template void gaussian_kl_forward(const Exec&, const GaussianKlForward<float>&);
template void gaussian_kl_forward(const Exec&, const GaussianKlForward<bf16>&);
template void gaussian_kl_forward(const Exec&, const GaussianKlForward<double>&);
template void gaussian_kl_backward(const Exec&, const GaussianKlBackward<float>&);
template void gaussian_kl_backward(const Exec&, const GaussianKlBackward<bf16>&);
template void gaussian_kl_backward(const Exec&, const GaussianKlBackward<double>&);

}  // namespace elbo
