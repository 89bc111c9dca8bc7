// Which noise an op draws: the part of a Philox address (noise.h) that is the same for a launch.
//
// Element (row, d) gets the normal number at (seed, purpose, step, sample = first_row + row, draw,
// dimension = d). The step is read from device memory when the kernel runs, so that a captured
// launch draws fresh noise each time it is replayed; a backward pass of the same step draws the
// same again.
#pragma once

#include <cstdint>

#include "kernels/noise.h"
#include "kernels/portability.h"
#include "kernels/step_state.h"

namespace elbo {

struct NoiseSource {
  uint64_t seed = 0;
  const StepState* state = nullptr;  // device memory; null means step 0
  NoisePurpose purpose = NoisePurpose::latent;
  uint32_t draw = 0;      // the k of a k-sample bound
  int64_t first_row = 0;  // global index of row 0

  ELBO_HD NoiseKey key() const { return {seed}; }
  ELBO_HD uint64_t step() const { return state ? state->step : 0; }

  // `at_step` is step(), read once by the caller.
  ELBO_HD NoiseAddress address(int64_t row, uint64_t at_step) const {
    return {purpose, at_step, static_cast<uint32_t>(first_row + row), draw};
  }
};

}  // namespace elbo
