#include "kernels/gaussian_nll.h"

#include "kernels/error.h"
#include "kernels/formulas.h"
#include "kernels/row_loss.h"

namespace elbo {
namespace {

// What the kernel knows of the variance. A learned one is read where the kernel runs; on the CPU
// that is here, so there it counts as fixed and its exponential leaves the loop.
template <class R>
struct FixedVariance {
  R raw, known_precision;

  ELBO_HD R raw_logvar() const { return raw; }
  ELBO_HD R precision() const { return known_precision; }
};

template <class R>
struct LearnedVariance {
  const R* raw;

  ELBO_HD R raw_logvar() const { return *raw; }
  ELBO_HD R precision() const { return math::exp(-formulas::bounded_logvar(*raw)); }
};

// Rows sum squared errors; the variance enters once per row, and in the gradient as a factor.
template <class R, class Variance>
struct GaussianDensity {
  Variance variance;
  R count;  // elements of a row
  R* nll;
  R* dlog_variance;

  ELBO_HD R accumulate(R mean, R target) const { return (target - mean) * (target - mean); }

  ELBO_HD R gradient(R mean, R target) const {
    return formulas::gaussian_nll_dmean(target, mean, variance.precision());
  }

  ELBO_HD void finish(int64_t row, R squares, R weight) const {
    const R raw = variance.raw_logvar();
    const R v = formulas::bounded_logvar(raw);
    if (nll) nll[row] = formulas::gaussian_nll_of_squares(squares, count, v);
    if (dlog_variance) {
      dlog_variance[row] = weight * formulas::gaussian_nll_of_squares_dlogvar(squares, count, v) *
                           formulas::bounded_logvar_derivative(raw);
    }
  }
};

template <class T, class Target, class Variance>
void launch(const Exec& exec, const GaussianNll<T, Target>& args, const Variance& variance) {
  using R = Compute<T>;
  const GaussianDensity<R, Variance> density{variance, static_cast<R>(args.dim), args.nll,
                                             args.dlog_variance};
  const RowLossArgs<T, Target> row{args.mean,  args.target, args.batch, args.dim,
                                   args.dmean, args.weight, args.mode};
  row_loss(exec, density, row, args.nll || args.dlog_variance);
}

}  // namespace

template <class T, class Target>
void gaussian_nll(const Exec& exec, const GaussianNll<T, Target>& args) {
  using R = Compute<T>;
  if (args.batch <= 0) return;
  ELBO_CHECK(args.dim == 0 || (args.mean && args.target),
             "gaussian_nll: ", args.mean ? "target" : "mean", " is null");
  ELBO_CHECK((!args.dmean && !args.dlog_variance) || args.weight.values,
             "gaussian_nll: a gradient is wanted and weight.values is null");
#ifdef ELBO_HAS_CUDA
  if constexpr (kHasDeviceCode<T>) {
    if (exec.on_cuda() && args.log_variance) {
      return launch(exec, args, LearnedVariance<R>{args.log_variance});
    }
  }
#endif
  const R raw = args.log_variance ? *args.log_variance : R{args.fixed_log_variance};
  launch(exec, args, FixedVariance<R>{raw, math::exp(-formulas::bounded_logvar(raw))});
}

template void gaussian_nll(const Exec&, const GaussianNll<float, float>&);
template void gaussian_nll(const Exec&, const GaussianNll<float, uint8_t>&);
template void gaussian_nll(const Exec&, const GaussianNll<bf16, float>&);
template void gaussian_nll(const Exec&, const GaussianNll<bf16, uint8_t>&);
template void gaussian_nll(const Exec&, const GaussianNll<double, float>&);
template void gaussian_nll(const Exec&, const GaussianNll<double, uint8_t>&);
template void gaussian_nll(const Exec&, const GaussianNll<double, double>&);

}  // namespace elbo
