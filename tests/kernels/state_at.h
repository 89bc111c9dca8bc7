// Where in training a batch is, for tests of what follows StepState.
#pragma once

#include "kernels/step_state.h"

namespace elbo {

inline StepState state_at(uint64_t step, uint64_t epoch, uint64_t position) {
  StepState state;
  state.step = step;
  state.epoch = epoch;
  state.position = position;
  return state;
}

}  // namespace elbo
