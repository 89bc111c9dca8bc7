#include "kernels/step_state.h"

#include "kernels/error.h"
#include "kernels/launch.h"

namespace elbo {
namespace {

ELBO_HD void apply_schedules(StepState& state, const StepRule& rule) {
  state.learning_rate = schedule_value(rule.learning_rate, state.step);
  state.kl_weight = schedule_value(rule.kl_weight, state.step);
}

struct PrepareStep {
  StepState* state;
  StepRule rule;

  ELBO_HD void operator()(int64_t) const { apply_schedules(*state, rule); }
};

struct AdvanceStep {
  StepState* state;
  StepRule rule;

  ELBO_HD void operator()(int64_t) const {
    // The optimiser left the weights alone, so the same step can be run again with every op checked.
    if (state->bad_op != 0) return;
    ++state->step;
    state->position += rule.batch;
    // A batch needs at least one sample, and all of its samples if a smaller one is to be dropped.
    const uint64_t needed = rule.drop_last ? rule.batch : 1;
    if (state->position + needed > rule.samples) {
      state->position = 0;
      ++state->epoch;
    }
    apply_schedules(*state, rule);
  }
};

void check_rule(const char* op, const StepState* state, const StepRule& rule) {
  ELBO_CHECK(state, op, ": the step state is null");
  ELBO_CHECK(rule.batch > 0 && rule.samples > 0, op, ": the rule has ", rule.samples,
             " samples in batches of ", rule.batch, "; both must be positive");
  ELBO_CHECK(!rule.drop_last || rule.batch <= rule.samples, op, ": no batch of ", rule.batch,
             " fits in ", rule.samples, " samples; use a smaller batch or keep the last one");
}

}  // namespace

void prepare_step(const Exec& exec, StepState* state, const StepRule& rule) {
  check_rule("prepare_step", state, rule);
  for_each(exec, 1, PrepareStep{state, rule});
}

void advance_step(const Exec& exec, StepState* state, const StepRule& rule) {
  check_rule("advance_step", state, rule);
  for_each(exec, 1, AdvanceStep{state, rule});
}

}  // namespace elbo
