#include "kernels/grad_norm.h"

#include "kernels/error.h"
#include "kernels/launch.h"

namespace elbo {
namespace {

struct GradNorm {
  static constexpr int kSums = 1;
  float max_norm;
  StepState* state;

  ELBO_HD void operator()(int64_t, const float* x, float* sums) const { sums[0] += x[0] * x[0]; }

  ELBO_HD void finish(const double* sums) const { set_grad_norm(*state, sums[0], max_norm); }
};

}  // namespace

void grad_norm(const Exec& exec, const float* grad, int64_t count, float max_norm,
               StepState* state) {
  ELBO_CHECK(state && (grad || count == 0), "grad_norm: ", state ? "grad" : "the step state",
             " is null");
  ELBO_CHECK(max_norm >= 0, "grad_norm: max_norm is ", max_norm,
             "; it must be 0 (off) or positive");
  reduce(exec, count, GradNorm{max_norm, state}, PointerPack{grad});
}

}  // namespace elbo
