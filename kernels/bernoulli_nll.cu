#include "kernels/bernoulli_nll.h"

#include "kernels/error.h"
#include "kernels/formulas.h"
#include "kernels/row_loss.h"

namespace elbo {
namespace {

template <class R>
struct BernoulliDensity {
  R* nll;

  ELBO_HD R accumulate(R logit, R target) const { return formulas::bernoulli_nll(logit, target); }
  ELBO_HD R gradient(R logit, R target) const {
    return formulas::bernoulli_nll_dlogit(logit, target);
  }
  ELBO_HD void finish(int64_t row, R sum, R) const { nll[row] = sum; }
};

}  // namespace

template <class T, class Target>
void bernoulli_nll(const Exec& exec, const BernoulliNll<T, Target>& args) {
  if (args.batch <= 0) return;
  ELBO_CHECK(args.dim == 0 || (args.logits && args.target),
             "bernoulli_nll: ", args.logits ? "target" : "logits", " is null");
  ELBO_CHECK(!args.dlogits || args.weight.values,
             "bernoulli_nll: a gradient is wanted and weight.values is null");
  row_loss(exec, BernoulliDensity<Compute<T>>{args.nll},
           RowLossArgs<T, Target>{args.logits, args.target, args.batch, args.dim, args.dlogits,
                                  args.weight, args.mode},
           args.nll != nullptr);
}

template void bernoulli_nll(const Exec&, const BernoulliNll<float, float>&);
template void bernoulli_nll(const Exec&, const BernoulliNll<float, uint8_t>&);
template void bernoulli_nll(const Exec&, const BernoulliNll<bf16, float>&);
template void bernoulli_nll(const Exec&, const BernoulliNll<bf16, uint8_t>&);
template void bernoulli_nll(const Exec&, const BernoulliNll<double, float>&);
template void bernoulli_nll(const Exec&, const BernoulliNll<double, uint8_t>&);
template void bernoulli_nll(const Exec&, const BernoulliNll<double, double>&);

}  // namespace elbo
