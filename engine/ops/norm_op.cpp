#include "engine/ops/norm_op.h"

#include "engine/ops/op_support.h"
#include "kernels/batch_norm.h"
#include "kernels/group_norm.h"

namespace elbo {
namespace {

// What a call of either layer comes down to. Trivially copyable, for the backward closures.
struct NormCall {
  ParamStore* params;
  Tensor x, y;
  Tensor stats;  // [2, ...]: means, then reciprocal deviations
  Param gamma, beta;
  Tensor running_mean, running_var;
  int64_t* batches;
  int64_t batch, rows, channels;
  BatchNormOptions options;
  int64_t groups;
};

NormCall new_call(const char* op, Tape& tape, ParamStore& params, const Tensor& x,
                  const NormParams& layer) {
  NormCall call{};
  call.params = &params;
  call.x = x;
  call.gamma = params.param(layer.weight);
  call.beta = params.param(layer.bias);
  const int rank = x.shape.rank();
  ELBO_CHECK(rank == 2 || rank == 4, op, ": x is ", x.shape.to_string(),
             "; expected [B, H, W, C] or [B, C]");
  call.batch = x.shape[0];
  call.channels = x.shape[rank - 1];
  call.rows = rank == 4 ? x.shape[1] * x.shape[2] : 1;
  for (const Param& param : {call.gamma, call.beta}) {
    ELBO_CHECK(param.value.size() == call.channels, op, ": x is ", x.shape.to_string(),
               ", a parameter has ", param.value.size(), " channels");
  }
  call.y = tape.new_value(x.shape, x.dtype);
  return call;
}

DType statistics_type(const Tensor& x) { return x.dtype == DType::f64 ? DType::f64 : DType::f32; }

void batch_norm_forward(Tape& tape, const NormCall& call) {
  const bool training = call.options.training;
  const Tensor mean_out = training ? call.running_mean : Tensor{};
  const Tensor var_out = training ? call.running_var : Tensor{};
  tape.op("batch_norm", {call.x, call.running_mean, call.running_var},
          {call.y, call.stats, mean_out, var_out}, [&](const Exec& exec) {
            with_storage_type("batch_norm", call.x, [&]<class T>(T) {
              using R = Compute<T>;
              BatchNormForward<T> args{};
              args.rows = call.batch * call.rows;
              args.channels = call.channels;
              args.x = call.x.as<T>();
              args.gamma = call.gamma.value.as<R>();
              args.beta = call.beta.value.as<R>();
              args.y = call.y.as<T>();
              args.mean = call.stats.as<R>();
              args.rstd = args.mean + call.channels;
              args.activation = call.options.activation;
              args.training = training;
              args.epsilon = static_cast<R>(call.options.epsilon);
              args.momentum = static_cast<R>(call.options.momentum);
              args.running_mean = call.running_mean.as<R>();
              args.running_var = call.running_var.as<R>();
              args.batches = call.batches;
              elbo::batch_norm_forward(exec, args);
            });
          });
}

// What the backward of both needs from the tape.
struct BackwardPlan {
  Tensor dy;
  GradSlot slot;
  Tensor sums;
  GradMode dgamma_mode, dbeta_mode;
};

std::optional<BackwardPlan> plan_backward(Tape& tape, const NormCall& call, bool always_sums) {
  const std::optional<Tensor> dy = tape.upstream(call.y);
  if (!dy) return std::nullopt;
  BackwardPlan plan{};
  plan.dy = *dy;
  plan.slot = tape.grad_slot(call.x);
  if (always_sums || plan.slot) {
    plan.sums = tape.new_buffer(call.stats.shape, call.stats.dtype);
  }
  plan.dgamma_mode = call.params->next_grad_mode(call.gamma.index);
  plan.dbeta_mode = call.params->next_grad_mode(call.beta.index);
  if (plan.dgamma_mode == GradMode::add || plan.dbeta_mode == GradMode::add) {
    tape.join();  // a branch may still be writing the same gradient
  }
  return plan;
}

// The arguments that the two kernels' structs have in common.
template <class T, class Args>
void fill_backward(const NormCall& call, const BackwardPlan& plan, Args& args) {
  using R = Compute<T>;
  args.channels = call.channels;
  args.x = call.x.as<T>();
  args.dy = plan.dy.as<T>();
  args.gamma = call.gamma.value.as<R>();
  args.beta = call.beta.value.as<R>();
  args.mean = call.stats.as<R>();
  args.rstd = args.mean + call.stats.size() / 2;
  args.activation = call.options.activation;
  args.dx = plan.slot ? plan.slot.dx.as<T>() : nullptr;
  args.mode = plan.slot.mode;
  args.dgamma = call.gamma.grad.as<R>();
  args.dbeta = call.beta.grad.as<R>();
  args.dgamma_mode = plan.dgamma_mode;
  args.dbeta_mode = plan.dbeta_mode;
  args.sums = plan.sums.data ? plan.sums.as<R>() : nullptr;
}

void batch_norm_backward(Tape& tape, const NormCall& call) {
  const std::optional<BackwardPlan> plan = plan_backward(tape, call, false);
  if (!plan) return;
  tape.op("batch_norm_backward", {call.x, plan->dy, call.stats, plan->slot.dx},
          {plan->slot.dx, call.gamma.grad, call.beta.grad, plan->sums}, [&](const Exec& exec) {
            with_storage_type("batch_norm", call.x, [&]<class T>(T) {
              BatchNormBackward<T> args{};
              fill_backward<T>(call, *plan, args);
              args.rows = call.batch * call.rows;
              args.training = call.options.training;
              elbo::batch_norm_backward(exec, args);
            });
          });
}

void group_norm_forward(Tape& tape, const NormCall& call) {
  tape.op("group_norm", {call.x}, {call.y, call.stats}, [&](const Exec& exec) {
    with_storage_type("group_norm", call.x, [&]<class T>(T) {
      using R = Compute<T>;
      GroupNormForward<T> args{};
      args.batch = call.batch;
      args.rows = call.rows;
      args.channels = call.channels;
      args.groups = call.groups;
      args.x = call.x.as<T>();
      args.gamma = call.gamma.value.as<R>();
      args.beta = call.beta.value.as<R>();
      args.y = call.y.as<T>();
      args.mean = call.stats.as<R>();
      args.rstd = args.mean + call.stats.size() / 2;
      args.activation = call.options.activation;
      args.epsilon = static_cast<R>(call.options.epsilon);
      elbo::group_norm_forward(exec, args);
    });
  });
}

void group_norm_backward(Tape& tape, const NormCall& call) {
  const std::optional<BackwardPlan> plan = plan_backward(tape, call, true);
  if (!plan) return;
  tape.op("group_norm_backward", {call.x, plan->dy, call.stats, plan->slot.dx},
          {plan->slot.dx, call.gamma.grad, call.beta.grad, plan->sums}, [&](const Exec& exec) {
            with_storage_type("group_norm", call.x, [&]<class T>(T) {
              GroupNormBackward<T> args{};
              fill_backward<T>(call, *plan, args);
              args.batch = call.batch;
              args.rows = call.rows;
              args.groups = call.groups;
              elbo::group_norm_backward(exec, args);
            });
          });
}

}  // namespace

NormParams add_group_norm(ParamStore& params, const std::string& name, int64_t channels) {
  NormParams layer;
  layer.weight = params.add(name + ".weight", {channels}, {InitKind::constant, 1.0f});
  layer.bias = params.add(name + ".bias", {channels}, {InitKind::zeros});
  return layer;
}

NormParams add_batch_norm(ParamStore& params, const std::string& name, int64_t channels) {
  NormParams layer = add_group_norm(params, name, channels);
  layer.running_mean = params.buffers().add(name + ".running_mean", {channels}, 0.0);
  layer.running_var = params.buffers().add(name + ".running_var", {channels}, 1.0);
  layer.batches = params.buffers().add_counter(name + ".num_batches_tracked");
  return layer;
}

Tensor batch_norm(Tape& tape, ParamStore& params, const Tensor& x, const NormParams& layer,
                  const BatchNormOptions& options) {
  NormCall call = new_call("batch_norm", tape, params, x, layer);
  const BufferStore& buffers = params.buffers();
  const bool training = options.training;
  call.options = options;
  call.running_mean =
      training ? buffers.next(layer.running_mean) : buffers.value(layer.running_mean);
  call.running_var = training ? buffers.next(layer.running_var) : buffers.value(layer.running_var);
  if (training && layer.batches >= 0) call.batches = buffers.next_counter(layer.batches);
  call.stats = tape.new_buffer({2, call.channels}, statistics_type(x));
  batch_norm_forward(tape, call);
  tape.record("batch_norm", {x}, [call](Tape& t) { batch_norm_backward(t, call); });
  return call.y;
}

Tensor group_norm(Tape& tape, ParamStore& params, const Tensor& x, const NormParams& layer,
                  const GroupNormOptions& options) {
  NormCall call = new_call("group_norm", tape, params, x, layer);
  call.options.activation = options.activation;
  call.options.epsilon = options.epsilon;
  call.groups = options.groups;
  call.stats = tape.new_buffer({2, call.batch, call.channels}, statistics_type(x));
  group_norm_forward(tape, call);
  tape.record("group_norm", {x}, [call](Tape& t) { group_norm_backward(t, call); });
  return call.y;
}

}  // namespace elbo
