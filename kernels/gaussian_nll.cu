#include "kernels/gaussian_nll.h"

#include "kernels/error.h"
#include "kernels/formulas.h"
#include "kernels/row_loss.h"

namespace elbo {
namespace {

// Rows sum squared errors; the variance enters once per row, and in the gradient as a factor.
template <class R>
struct GaussianDensity {
  const R* learned;  // device scalar before its bound; null: `fixed` and `fixed_precision` hold
  R fixed, fixed_precision;
  R count;  // elements of a row
  R* nll;
  R* dlog_variance;

  ELBO_HD R accumulate(R mean, R target) const { return (target - mean) * (target - mean); }

  ELBO_HD R gradient(R mean, R target) const {
    const R precision = learned ? math::exp(-formulas::bounded_logvar(*learned)) : fixed_precision;
    return formulas::gaussian_nll_dmean(target, mean, precision);
  }

  ELBO_HD void finish(int64_t row, R squares, R weight) const {
    const R raw = learned ? *learned : fixed;
    const R v = formulas::bounded_logvar(raw);
    if (nll) nll[row] = formulas::gaussian_nll_of_squares(squares, count, v);
    if (dlog_variance) {
      dlog_variance[row] = weight * formulas::gaussian_nll_of_squares_dlogvar(squares, count, v) *
                           formulas::bounded_logvar_derivative(raw);
    }
  }
};

}  // namespace

template <class T, class Target>
void gaussian_nll(const Exec& exec, const GaussianNll<T, Target>& args) {
  using R = Compute<T>;
  ELBO_CHECK(args.batch * args.dim == 0 || (args.mean && args.target),
             "gaussian_nll: ", args.mean ? "target" : "mean", " is null");
  ELBO_CHECK((!args.dmean && !args.dlog_variance) || args.weight.values,
             "gaussian_nll: a gradient is wanted and weight.values is null");
  GaussianDensity<R> density{
      args.log_variance, R{args.fixed_log_variance}, R{0}, static_cast<R>(args.dim),
      args.nll,          args.dlog_variance};
  if (args.log_variance && !exec.on_cuda()) {  // in host memory: read here, exp leaves the loop
    density.fixed = *args.log_variance;
    density.learned = nullptr;
  }
  density.fixed_precision = math::exp(-formulas::bounded_logvar(density.fixed));
  row_loss(exec, density,
           RowLossArgs<T, Target>{args.mean, args.target, args.batch, args.dim, args.dmean,
                                  args.weight, args.mode},
           args.nll || args.dlog_variance);
}

template void gaussian_nll(const Exec&, const GaussianNll<float, float>&);
template void gaussian_nll(const Exec&, const GaussianNll<float, uint8_t>&);
template void gaussian_nll(const Exec&, const GaussianNll<bf16, float>&);
template void gaussian_nll(const Exec&, const GaussianNll<bf16, uint8_t>&);
template void gaussian_nll(const Exec&, const GaussianNll<double, float>&);
template void gaussian_nll(const Exec&, const GaussianNll<double, uint8_t>&);
template void gaussian_nll(const Exec&, const GaussianNll<double, double>&);

}  // namespace elbo
