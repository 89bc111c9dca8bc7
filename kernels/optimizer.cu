#include "kernels/optimizer.h"

#include "kernels/elementwise.h"
#include "kernels/error.h"
#include "kernels/launch.h"
#include "kernels/update_rules.h"

namespace elbo {
namespace {

// Each rule is a functor for map(): it holds the scalars of one step, made from the
// hyper-parameters and the device's state by prepare(), and updates one parameter.
// x = {param, grad, moments...}, y = {param, moments...}.

struct AdamRule {
  static constexpr int kMoments = 2;
  AdamStep<float> step;
  float grad_scale;

  ELBO_HD static AdamRule prepare(const OptimizerHyper& hyper, const StepState& state) {
    AdamOptions options;
    options.learning_rate = state.learning_rate;
    options.beta1 = hyper.beta1;
    options.beta2 = hyper.beta2;
    options.epsilon = hyper.epsilon;
    options.weight_decay = hyper.weight_decay;
    options.decoupled = hyper.kind == OptimizerKind::adamw;
    return {make_adam_step<float>(options, state.step + 1), state.grad_scale};
  }

  ELBO_HD void operator()(int64_t, const float* x, float* y) const {
    y[0] = x[0], y[1] = x[2], y[2] = x[3];
    adam_update(step, grad_scale * x[1], y[0], y[1], y[2]);
  }
};

struct MomentumRule {
  static constexpr int kMoments = 1;
  SgdStep<float> step;
  float grad_scale;

  ELBO_HD static MomentumRule prepare(const OptimizerHyper& hyper, const StepState& state) {
    return {{state.learning_rate, hyper.momentum, hyper.weight_decay, hyper.nesterov},
            state.grad_scale};
  }

  ELBO_HD void operator()(int64_t, const float* x, float* y) const {
    y[0] = x[0], y[1] = x[2];
    sgd_update(step, grad_scale * x[1], y[0], y[1]);
  }
};

struct PlainSgdRule {
  static constexpr int kMoments = 0;
  SgdStep<float> step;
  float grad_scale;

  ELBO_HD static PlainSgdRule prepare(const OptimizerHyper& hyper, const StepState& state) {
    return {{state.learning_rate, 0.0f, hyper.weight_decay, false}, state.grad_scale};
  }

  ELBO_HD void operator()(int64_t, const float* x, float* y) const {
    float no_buffer = 0.0f;
    y[0] = x[0];
    sgd_update(step, grad_scale * x[1], y[0], no_buffer);
  }
};

struct AdagradRule {
  static constexpr int kMoments = 1;
  AdagradStep<float> step;
  float grad_scale;

  ELBO_HD static AdagradRule prepare(const OptimizerHyper& hyper, const StepState& state) {
    AdagradOptions options;
    options.learning_rate = state.learning_rate;
    options.epsilon = hyper.epsilon;
    options.weight_decay = hyper.weight_decay;
    return {make_adagrad_step<float>(options, state.step + 1), state.grad_scale};
  }

  ELBO_HD void operator()(int64_t, const float* x, float* y) const {
    y[0] = x[0], y[1] = x[2];
    adagrad_update(step, grad_scale * x[1], y[0], y[1]);
  }
};

#ifdef ELBO_HAS_CUDA

// map_kernel with a prologue: thread 0 of each block makes the step's scalars (some thirty fp64
// products for Adam), which a host cannot pass in because they change from step to step inside a
// captured graph. One thread owns four neighbouring parameters; each span is moved once, 16 bytes
// per access if Vectorised. bad_op is the same for all threads, so all of them return or none.
// If Advance, the block that draws the last ticket moves the state on: every block has read it before
// its barrier, and the fences around the ticket order those reads before the write.
template <bool Vectorised, bool Advance, class Rule, int In, int Out>
__global__ void __launch_bounds__(cuda::kBlock)
    optimizer_kernel(OptimizerHyper hyper, StepState* state, int64_t n,
                     PointerPack<const float, In> in, PointerPack<float, Out> out, bf16* shadow,
                     StepRule next_step, uint32_t* ticket) {
  gpu::wait_for_previous();
  __shared__ Rule shared_rule;
  if (state->bad_op != 0) return;
  if (threadIdx.x == 0) shared_rule = Rule::prepare(hyper, *state);
  __syncthreads();
  const Rule rule = shared_rule;
  const auto update = [&rule, shadow](int64_t i, const float* x, float* y) {
    rule(i, x, y);
    if (shadow) shadow[i] = from_float<bf16>(y[0]);
  };
  constexpr int kStep = Vectorised ? kVector<float> : 1;
  const int64_t thread = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const int64_t stride = int64_t{gridDim.x} * blockDim.x;
  for (int64_t v = thread; v < n / kStep; v += stride) {
    if constexpr (Vectorised) {
      cuda::with_vector<float, In, Out>(in, out, v * kStep, update);
    } else {
      cuda::with_element<float, In, Out>(in, out, v, update);
    }
  }
  const int64_t tail = n - n % kStep + thread;
  if (tail < n) cuda::with_element<float, In, Out>(in, out, tail, update);
  if constexpr (Advance) {
    if (threadIdx.x != 0) return;
    __threadfence();
    if (atomicAdd(ticket, 1u) != gridDim.x - 1) return;
    __threadfence();
    advance(*state, next_step);
    *ticket = 0;
  }
}

template <bool Advance, class Rule, int In, int Out>
void launch_optimizer(const Exec& exec, const OptimizerStep& args, PointerPack<const float, In> in,
                      PointerPack<float, Out> out) {
  const int64_t n = args.count;
  const StepRule next_step = Advance ? *args.next_step : StepRule{};
  if (cuda::is_vector_aligned(in)) {  // every output is an input too
    gpu::launch(optimizer_kernel<true, Advance, Rule, In, Out>,
                cuda::blocks_for(n / kVector<float>), cuda::kBlock, 0, gpu::overlapping(exec),
                args.hyper, args.state, n, in, out, args.shadow, next_step, exec.scratch.tickets);
  } else {
    gpu::launch(optimizer_kernel<false, Advance, Rule, In, Out>, cuda::blocks_for(n), cuda::kBlock,
                0, gpu::overlapping(exec), args.hyper, args.state, n, in, out, args.shadow,
                next_step, exec.scratch.tickets);
  }
}

template <class Rule, int In, int Out>
void optimizer_cuda(const Exec& exec, const OptimizerStep& args, PointerPack<const float, In> in,
                    PointerPack<float, Out> out) {
  if (!args.next_step) return launch_optimizer<false, Rule>(exec, args, in, out);
  ELBO_CHECK(exec.scratch.tickets, "optimizer_step: advancing the step needs a ticket");
  launch_optimizer<true, Rule>(exec, args, in, out);
}

#endif

template <class Rule, int In, int Out>
void update([[maybe_unused]] const Exec& exec, const OptimizerStep& args,
            PointerPack<const float, In> in, PointerPack<float, Out> out) {
#ifdef ELBO_HAS_CUDA
  if (exec.on_cuda()) return optimizer_cuda<Rule>(exec, args, in, out);
#endif
  if (args.state->bad_op != 0) return;
  cpu::map(args.count, Rule::prepare(args.hyper, *args.state), in, out);
  if (args.shadow) convert(exec, args.count, args.param, args.shadow);
  if (args.next_step) advance(*args.state, *args.next_step);
}

template <class Rule>
void update_as(const Exec& exec, const OptimizerStep& args) {
  float* const m1 = args.moment1;
  float* const m2 = args.moment2;
  if constexpr (Rule::kMoments == 0) {
    update<Rule>(exec, args, PointerPack<const float, 2>{{args.param, args.grad}},
                 PointerPack<float, 1>{{args.param}});
  } else if constexpr (Rule::kMoments == 1) {
    update<Rule>(exec, args, PointerPack<const float, 3>{{args.param, args.grad, m1}},
                 PointerPack<float, 2>{{args.param, m1}});
  } else {
    update<Rule>(exec, args, PointerPack<const float, 4>{{args.param, args.grad, m1, m2}},
                 PointerPack<float, 3>{{args.param, m1, m2}});
  }
}

}  // namespace

size_t optimizer_moments(const OptimizerHyper& hyper) {
  switch (hyper.kind) {
    case OptimizerKind::adam:
    case OptimizerKind::adamw:
      return 2;
    case OptimizerKind::sgd:
      return hyper.momentum != 0.0f ? 1 : 0;
    case OptimizerKind::adagrad:
      return 1;
  }
  return 0;
}

void optimizer_step(const Exec& exec, const OptimizerStep& args) {
  if (args.next_step) check_step_rule("optimizer_step", args.state, *args.next_step);
  if (args.count == 0) {
    if (args.next_step) advance_step(exec, args.state, *args.next_step);
    return;
  }
  const size_t moments = optimizer_moments(args.hyper);
  ELBO_CHECK(args.param && args.grad && args.state,
             "optimizer_step: the parameters, gradients or step state are null");
  ELBO_CHECK((moments < 1 || args.moment1) && (moments < 2 || args.moment2),
             "optimizer_step: this optimiser needs ", moments, " moment spans; one is null");
  switch (args.hyper.kind) {
    case OptimizerKind::adam:
    case OptimizerKind::adamw:
      return update_as<AdamRule>(exec, args);
    case OptimizerKind::sgd:
      return moments == 1 ? update_as<MomentumRule>(exec, args)
                          : update_as<PlainSgdRule>(exec, args);
    case OptimizerKind::adagrad:
      return update_as<AdagradRule>(exec, args);
  }
}

}  // namespace elbo
