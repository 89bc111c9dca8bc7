#include "kernels/pair_loss.h"
#include "kernels/pixel_formulas.h"

namespace elbo {
namespace {

struct GaussianDiagonalDensity {
  template <class R>
  ELBO_HD R loss(R mean, R raw_logvar, R target) const {
    return formulas::gaussian_nll(target, mean, formulas::bounded_logvar(raw_logvar));
  }
  template <class R>
  ELBO_HD R gradient_first(R mean, R raw_logvar, R target) const {
    const R precision = math::exp(-formulas::bounded_logvar(raw_logvar));
    return formulas::gaussian_nll_dmean(target, mean, precision);
  }
  template <class R>
  ELBO_HD R gradient_second(R mean, R raw_logvar, R target) const {
    const R precision = math::exp(-formulas::bounded_logvar(raw_logvar));
    return formulas::gaussian_nll_dlogvar(target, mean, precision) *
           formulas::bounded_logvar_derivative(raw_logvar);
  }
};

}  // namespace

template <class T, class Target>
void gaussian_diagonal_nll(const Exec& exec, const OutputNll<T, Target>& args) {
  pair_loss(exec, "gaussian_diagonal_nll", GaussianDiagonalDensity{}, args);
}

ELBO_INSTANTIATE_OUTPUT_NLL(gaussian_diagonal_nll)

}  // namespace elbo
