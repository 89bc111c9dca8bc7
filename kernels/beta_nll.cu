#include "kernels/pair_loss.h"
#include "kernels/pixel_formulas.h"

namespace elbo {
namespace {

struct BetaDensity {
  template <class R>
  ELBO_HD R loss(R raw_a, R raw_b, R target) const {
    return formulas::beta_nll(target, formulas::beta_parameter(raw_a),
                              formulas::beta_parameter(raw_b));
  }
  template <class R>
  ELBO_HD R gradient_first(R raw_a, R raw_b, R target) const {
    return formulas::beta_nll_da(target, formulas::beta_parameter(raw_a),
                                 formulas::beta_parameter(raw_b)) *
           formulas::beta_parameter_derivative(raw_a);
  }
  template <class R>
  ELBO_HD R gradient_second(R raw_a, R raw_b, R target) const {
    return formulas::beta_nll_db(target, formulas::beta_parameter(raw_a),
                                 formulas::beta_parameter(raw_b)) *
           formulas::beta_parameter_derivative(raw_b);
  }
};

}  // namespace

template <class T, class Target>
void beta_nll(const Exec& exec, const OutputNll<T, Target>& args) {
  pair_loss(exec, "beta_nll", BetaDensity{}, args);
}

ELBO_INSTANTIATE_OUTPUT_NLL(beta_nll)

}  // namespace elbo
