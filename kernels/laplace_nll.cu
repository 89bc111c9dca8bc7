#include "kernels/output_nll_check.h"
#include "kernels/pixel_formulas.h"
#include "kernels/row_loss.h"

namespace elbo {
namespace {

// Rows sum absolute errors; the scale enters once per row, and in the gradient as a factor.
template <class R>
struct LaplaceDensity {
  R log_scale, inverse_scale;
  R count;  // elements of a row
  R* nll;

  ELBO_HD R accumulate(R median, R target) const { return math::abs(target - median); }
  ELBO_HD R gradient(R median, R target) const {
    return formulas::laplace_nll_direction(target, median) * inverse_scale;
  }
  ELBO_HD void finish(int64_t row, R errors, R) const {
    nll[row] = formulas::laplace_nll_of_errors(errors, count, log_scale);
  }
};

}  // namespace

template <class T, class Target>
void laplace_nll(const Exec& exec, const OutputNll<T, Target>& args) {
  using R = Compute<T>;
  if (args.batch <= 0) return;
  check_output_nll("laplace_nll", args);
  const R log_scale = args.log_scale;
  row_loss(exec,
           LaplaceDensity<R>{log_scale, math::exp(-log_scale), static_cast<R>(args.dim), args.nll},
           RowLossArgs<T, Target>{args.output, args.target, args.batch, args.dim, args.doutput,
                                  args.weight, args.mode},
           args.nll != nullptr);
}

ELBO_INSTANTIATE_OUTPUT_NLL(laplace_nll)

}  // namespace elbo
