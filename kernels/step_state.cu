#include "kernels/step_state.h"

#include "kernels/error.h"
#include "kernels/launch.h"

namespace elbo {
namespace {

struct PrepareStep {
  StepState* state;
  StepRule rule;

  ELBO_HD void operator()(int64_t) const { apply_schedules(*state, rule); }
};

struct AdvanceStep {
  StepState* state;
  StepRule rule;

  ELBO_HD void operator()(int64_t) const { advance(*state, rule); }
};

}  // namespace

void check_step_rule(const char* op, const StepState* state, const StepRule& rule) {
  ELBO_CHECK(state, op, ": the step state is null");
  ELBO_CHECK(rule.batch > 0 && rule.samples > 0, op, ": the rule has ", rule.samples,
             " samples in batches of ", rule.batch, "; both must be positive");
  ELBO_CHECK(!rule.drop_last || rule.batch <= rule.samples, op, ": no batch of ", rule.batch,
             " fits in ", rule.samples, " samples; use a smaller batch or keep the last one");
}

void prepare_step(const Exec& exec, StepState* state, const StepRule& rule) {
  check_step_rule("prepare_step", state, rule);
  for_each(exec, 1, PrepareStep{state, rule});
}

void advance_step(const Exec& exec, StepState* state, const StepRule& rule) {
  check_step_rule("advance_step", state, rule);
  for_each(exec, 1, AdvanceStep{state, rule});
}

}  // namespace elbo
