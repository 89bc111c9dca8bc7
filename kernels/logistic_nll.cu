#include "kernels/pair_loss.h"
#include "kernels/pixel_formulas.h"

namespace elbo {
namespace {

struct LogisticDensity {
  template <class R>
  ELBO_HD R loss(R location, R raw_scale, R target) const {
    return formulas::logistic_nll(target, location, formulas::bounded_log_scale(raw_scale));
  }
  template <class R>
  ELBO_HD R gradient_first(R location, R raw_scale, R target) const {
    return formulas::logistic_nll_dlocation(target, location,
                                            formulas::bounded_log_scale(raw_scale));
  }
  template <class R>
  ELBO_HD R gradient_second(R location, R raw_scale, R target) const {
    const R by_log_scale =
        formulas::logistic_nll_dlog_scale(target, location, formulas::bounded_log_scale(raw_scale));
    return by_log_scale * formulas::bounded_log_scale_derivative(raw_scale);
  }
};

}  // namespace

template <class T, class Target>
void logistic_nll(const Exec& exec, const OutputNll<T, Target>& args) {
  pair_loss(exec, "logistic_nll", LogisticDensity{}, args);
}

ELBO_INSTANTIATE_OUTPUT_NLL(logistic_nll)

}  // namespace elbo
