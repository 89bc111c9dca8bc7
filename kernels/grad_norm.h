// The L2 norm of all gradients, and by how much to scale them so that it stays within a limit.
//
//   state->grad_norm  = sqrt(sum_i grad[i]^2)
//   state->grad_scale = min(1, max_norm / (grad_norm + 1e-6)),  or 1 if max_norm is 0
//
// Gradients are left as they are: the optimiser multiplies by grad_scale as it reads them, which
// saves a pass over them. The 1e-6 is that of torch.nn.utils.clip_grad_norm_.
//
// Units     grad_norm in the unit of the gradients, before clipping
// Work      one launch; reads `count` floats; needs reduce_scratch_bytes(1) of scratch and a ticket
// Numerics  squares summed in fp32 within a chunk or block, in fp64 across them, in a fixed order.
//           A square overflows for |grad| > 1.8e19: the norm is then infinite.
//           A norm that is not finite sets state->bad_op to 1 + kGradNormOpId (finite_check.h).
// Errors    elbo::Error if a pointer is null or max_norm is negative; count == 0 gives norm 0
// Source    Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063, section 3.2
#pragma once

#include <cstdint>

#include <cmath>

#include "kernels/exec.h"
#include "kernels/finite_check.h"
#include "kernels/portability.h"
#include "kernels/step_state.h"

namespace elbo {

// What the sum of squares means for the step.
ELBO_HD void set_grad_norm(StepState& state, double sum_of_squares, float max_norm) {
  const auto norm = static_cast<float>(::sqrt(sum_of_squares));
  const float limit = max_norm / (norm + 1e-6f);
  state.grad_norm = norm;
  state.grad_scale = max_norm > 0 && limit < 1 ? limit : 1.0f;
  if (!is_finite(norm)) note_bad_op(state, kGradNormOpId);
}

void grad_norm(const Exec& exec, const float* grad, int64_t count, float max_norm,
               StepState* state);

}  // namespace elbo
