#include "kernels/output_nll_check.h"
#include "kernels/pixel_formulas.h"
#include "kernels/row_loss.h"

namespace elbo {
namespace {

template <class R>
struct ContinuousBernoulliDensity {
  R* nll;

  ELBO_HD R accumulate(R logit, R target) const {
    return formulas::continuous_bernoulli_nll(logit, target);
  }
  ELBO_HD R gradient(R logit, R target) const {
    return formulas::continuous_bernoulli_nll_dlogit(logit, target);
  }
  ELBO_HD void finish(int64_t row, R sum, R) const { nll[row] = sum; }
};

}  // namespace

template <class T, class Target>
void continuous_bernoulli_nll(const Exec& exec, const OutputNll<T, Target>& args) {
  if (args.batch <= 0) return;
  check_output_nll("continuous_bernoulli_nll", args);
  row_loss(exec, ContinuousBernoulliDensity<Compute<T>>{args.nll},
           RowLossArgs<T, Target>{args.output, args.target, args.batch, args.dim, args.doutput,
                                  args.weight, args.mode},
           args.nll != nullptr);
}

ELBO_INSTANTIATE_OUTPUT_NLL(continuous_bernoulli_nll)

}  // namespace elbo
