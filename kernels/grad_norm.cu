#include "kernels/grad_norm.h"

#include <cmath>

#include "kernels/error.h"
#include "kernels/finite_check.h"
#include "kernels/launch.h"

namespace elbo {
namespace {

struct GradNorm {
  static constexpr int kSums = 1;
  float max_norm;
  StepState* state;

  ELBO_HD void operator()(int64_t, const float* x, float* sums) const { sums[0] += x[0] * x[0]; }

  ELBO_HD void finish(const double* sums) const {
    const auto norm = static_cast<float>(::sqrt(sums[0]));
    const float limit = max_norm / (norm + 1e-6f);
    state->grad_norm = norm;
    state->grad_scale = max_norm > 0 && limit < 1 ? limit : 1.0f;
    if (!is_finite(norm)) note_bad_op(*state, kGradNormOpId);
  }
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
