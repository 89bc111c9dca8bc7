// The tripwire for NaN and infinity: finds the op whose output went bad, without stopping the device.
//
//   state->bad_op = 1 + op_id    if x holds a value that is not finite, unless a smaller id is there
//
// Op ids grow in execution order, so the smallest one names the culprit; everything computed from
// its output is bad too. The optimiser does not touch weights while bad_op is set, so the trainer
// may look at the word as rarely as it likes and still find the weights of the last good step.
//
// Work      one launch; reads n elements; needs reduce_scratch_bytes(1) of exec.scratch and a ticket
// Numerics  counts in fp32, which saturates above 2^24 bad elements but never returns to zero
// Errors    elbo::Error if x (with n > 0) or state is null; n == 0 is a no-op
#pragma once

#include <cstdint>

#include "kernels/exec.h"
#include "kernels/portability.h"
#include "kernels/step_state.h"

namespace elbo {

// Ids of checks that belong to no op of the model. They are large: an op's own id wins.
inline constexpr uint32_t kLossOpId = 1u << 30;
inline constexpr uint32_t kGradNormOpId = kLossOpId + 1;

// Not atomic: launches that check share a stream, and one thread of each calls this.
ELBO_HD void note_bad_op(StepState& state, uint32_t op_id) {
  const uint32_t found = op_id + 1;
  if (state.bad_op == 0 || found < state.bad_op) state.bad_op = found;
}

// x - x is zero for every finite x and NaN for the others; no branch, so loops around it vectorise.
template <class R>
ELBO_HD bool is_finite(R x) {
  return x - x == R(0);
}

// T is float, bf16 or double (CPU only).
template <class T>
void check_finite(const Exec& exec, const T* x, int64_t n, uint32_t op_id, StepState* state);

}  // namespace elbo
