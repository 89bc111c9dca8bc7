#include "kernels/finite_check.h"

#include "kernels/error.h"
#include "kernels/launch.h"

namespace elbo {
namespace {

struct CountNonFinite {
  static constexpr int kSums = 1;
  uint32_t op_id;
  StepState* state;

  template <class R>
  ELBO_HD void operator()(int64_t, const R* x, R* sums) const {
    sums[0] += is_finite(x[0]) ? R(0) : R(1);
  }
  ELBO_HD void finish(const double* sums) const {
    if (sums[0] > 0) note_bad_op(*state, op_id);
  }
};

}  // namespace

template <class T>
void check_finite(const Exec& exec, const T* x, int64_t n, uint32_t op_id, StepState* state) {
  if (n == 0) return;
  ELBO_CHECK(x && state, "check_finite: ", x ? "the step state" : "x", " is null");
  reduce(exec, n, CountNonFinite{op_id, state}, PointerPack{x});
}

template void check_finite(const Exec&, const float*, int64_t, uint32_t, StepState*);
template void check_finite(const Exec&, const bf16*, int64_t, uint32_t, StepState*);
template void check_finite(const Exec&, const double*, int64_t, uint32_t, StepState*);

}  // namespace elbo
