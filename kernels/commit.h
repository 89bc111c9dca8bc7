// Takes over what a step has made, unless the step went bad.
//
//   to = from    if state is null or state->bad_op is 0; else nothing happens
//
// Shapes    to, from `bytes` bytes, apart from one another, both 16-byte aligned; bytes % 16 == 0
// Work      one launch, which reads and writes every byte once
// Errors    elbo::Error for a null operand or bytes that are no multiple of 16; bytes == 0 is a no-op
#pragma once

#include <cstddef>

#include "kernels/exec.h"
#include "kernels/step_state.h"

namespace elbo {

// state is device memory.
void commit_bytes(const Exec& exec, void* to, const void* from, size_t bytes,
                  const StepState* state);

}  // namespace elbo
