#include "kernels/step_record.h"

#include <algorithm>

#include "kernels/error.h"
#include "kernels/finite_check.h"
#include "kernels/grad_norm.h"
#include "kernels/launch.h"

namespace elbo {
namespace {

// The state's gradient norm must be this step's already.
ELBO_HD void write_losses(const StepRecord& args, double nll_sum, double kl_sum) {
  StepState& state = *args.state;
  LossRecord record;
  record.step = state.step;
  record.recon = static_cast<float>(nll_sum / static_cast<double>(args.batch));
  record.kl = static_cast<float>(kl_sum / static_cast<double>(args.batch));
  record.total =
      args.total ? *args.total : state.recon_weight * record.recon + state.kl_weight * record.kl;
  record.learning_rate = state.learning_rate;
  record.kl_weight = state.kl_weight;
  record.grad_norm = state.grad_norm;
  record.perplexity = args.perplexity ? *args.perplexity : 0.0f;
  record.discriminator = args.discriminator ? *args.discriminator : 0.0f;
  args.ring[state.step % static_cast<uint64_t>(args.ring_size)] = record;
  // A part that is not finite makes the total so, whatever its weight: 0 * infinity is NaN.
  if (!is_finite(record.total)) note_bad_op(state, kLossOpId);
}

int64_t loss_count(const StepRecord& args) {
  const int64_t losses = std::max(args.nll ? args.nll_count : 0, args.kl ? args.batch : 0);
  return std::max(losses, args.running ? args.running_count : 0);
}

// Adds the i-th losses, of those that are there, to {reconstruction, KL}.
ELBO_HD void add_losses(const StepRecord& args, int64_t i, float* sums) {
  if (args.nll && i < args.nll_count) sums[0] += args.nll[i];
  if (args.kl && i < args.batch) sums[1] += args.kl[i];
  // Nothing, or NaN if it is not finite.
  if (args.running && i < args.running_count) sums[0] += args.running[i] - args.running[i];
}

struct RecordLosses {
  static constexpr int kSums = 2;
  StepRecord args;

  ELBO_HD void operator()(int64_t i, const float*, float* sums) const { add_losses(args, i, sums); }
  ELBO_HD void finish(const double* sums) const { write_losses(args, sums[0], sums[1]); }
};

#ifdef ELBO_HAS_CUDA

// Runs over the gradients; what looks at gradient i also takes the losses of samples i, i + count, ...
struct RecordStep {
  static constexpr int kSums = 3;
  StepRecord args;
  int64_t losses;

  ELBO_HD void operator()(int64_t i, const float* x, float* sums) const {
    sums[0] += x[0] * x[0];
    for (int64_t loss = i; loss < losses; loss += args.count) add_losses(args, loss, sums + 1);
  }
  ELBO_HD void finish(const double* sums) const {
    set_grad_norm(*args.state, sums[0], args.max_norm);
    write_losses(args, sums[1], sums[2]);
  }
};

#endif

}  // namespace

void record_step(const Exec& exec, const StepRecord& args) {
  ELBO_CHECK(args.ring_size > 0, "record_step: the ring has ", args.ring_size,
             " slots; it needs one at least");
  ELBO_CHECK(args.batch > 0, "record_step: an empty batch has no mean");
  ELBO_CHECK(args.state && args.ring && (args.grad || args.count == 0), "record_step: ",
             !args.state  ? "the step state"
             : !args.ring ? "the ring"
                          : "the gradient",
             " is null");
#ifdef ELBO_HAS_CUDA
  if (exec.on_cuda() && args.count > 0) {
    ELBO_CHECK(args.max_norm >= 0, "record_step: max_norm is ", args.max_norm,
               "; it must be 0 (off) or positive");
    return reduce(exec, args.count, RecordStep{args, loss_count(args)}, PointerPack{args.grad});
  }
#endif
  grad_norm(exec, args.grad, args.count, args.max_norm, args.state);
  reduce(exec, loss_count(args), RecordLosses{args}, NoPointers<const float>{});
}

}  // namespace elbo
