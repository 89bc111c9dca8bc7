// Everything that changes from one training step to the next, in device memory.
//
// Kernels read it through a pointer that never changes, and one small kernel advances it at the end
// of a step; so a captured step can be replayed with no argument of any node altered.
#pragma once

#include <cstdint>

#include "kernels/exec.h"
#include "kernels/portability.h"
#include "kernels/schedule.h"

namespace elbo {

struct StepState {
  uint64_t step = 0;      // finished optimiser steps; also the noise counter
  uint64_t epoch = 0;     // selects the shuffle
  uint64_t position = 0;  // first sample of this batch within the shuffled epoch

  float learning_rate = 0.0f;
  float kl_weight = 1.0f;
  float recon_weight = 1.0f;
  float one = 1.0f;       // never changes: the weight of what has a constant one
  float capacity = 0.0f;  // nats that the KL is drawn to, where an objective does that

  float grad_norm = 0.0f;   // L2 norm of all gradients before clipping
  float grad_scale = 1.0f;  // what the optimiser multiplies gradients by: min(1, max_norm / norm)

  uint32_t bad_op = 0;  // 1 + id of the first op with a non-finite value, 0 while all is well
};

// How advance_step() moves the state.
struct StepRule {
  Schedule learning_rate;
  Schedule kl_weight;
  Schedule capacity;
  uint64_t samples = 0;    // samples in the data set
  uint64_t batch = 0;      // samples per step
  bool drop_last = false;  // skip a smaller last batch of an epoch
};

ELBO_HD void apply_schedules(StepState& state, const StepRule& rule) {
  state.learning_rate = schedule_value(rule.learning_rate, state.step);
  state.kl_weight = schedule_value(rule.kl_weight, state.step);
  state.capacity = schedule_value(rule.capacity, state.step);
}

// To the next batch or epoch.
ELBO_HD void next_batch(StepState& state, const StepRule& rule) {
  ++state.step;
  state.position += rule.batch;
  // A batch needs at least one sample, and all of its samples if a smaller one is to be dropped.
  const uint64_t needed = rule.drop_last ? rule.batch : 1;
  if (state.position + needed > rule.samples) {
    state.position = 0;
    ++state.epoch;
  }
}

// Stands still if a bad op was found: the optimiser then left the weights alone, so the same step can
// be run again with every op checked.
ELBO_HD void advance(StepState& state, const StepRule& rule) {
  if (state.bad_op != 0) return;
  next_batch(state, rule);
  apply_schedules(state, rule);
}

// Errors    of both launchers: elbo::Error if the state is null or the rule can make no batch
void check_step_rule(const char* op, const StepState* state, const StepRule& rule);

// Sets the scheduled values for state->step; call once before the first step (and after a resume).
void prepare_step(const Exec& exec, StepState* state, const StepRule& rule);

// advance() as a launch of one thread. The optimiser can do it in passing (optimizer.h).
void advance_step(const Exec& exec, StepState* state, const StepRule& rule);

}  // namespace elbo
