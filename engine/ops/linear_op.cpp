#include "engine/ops/linear_op.h"

#include "engine/ops/op_support.h"
#include "kernels/activation_op.h"
#include "kernels/linear.h"

namespace elbo {
namespace {

size_t aux_bytes(const Tape& tape, const LinearCall& call) {
  const Exec& exec = tape.context().exec();
  size_t bytes = 0;
  with_storage_type("linear", call.x, [&]<class T>(T) {
    bytes = linear_aux_bytes<T>(exec, call.batch, call.out, call.activation);
  });
  return bytes;
}

void forward(Tape& tape, const LinearCall& call) {
  tape.op("linear", {call.x}, {call.y, call.aux}, [&](const Exec& exec) {
    with_storage_type("linear", call.x, [&]<class T>(T) {
      BasicLinearForward<T> args{};
      args.x = call.x.as<T>();
      args.weight = weight_values<T>(call.weight);
      args.bias = call.has_bias ? call.bias.value.as<Compute<T>>() : nullptr;
      args.y = call.y.as<T>();
      args.aux = call.aux.data;
      args.batch = call.batch;
      args.in = call.in;
      args.out = call.out;
      args.activation = call.activation;
      linear_forward(exec, args);
    });
  });
}

// dz = dy * act'(.) in place, and the bias gradient.
void backward_activation(Tape& tape, const LinearCall& call, const Tensor& dy) {
  const GradMode mode =
      call.has_bias ? call.params->next_grad_mode(call.bias.index) : GradMode::write;
  if (mode == GradMode::add) tape.join();  // a branch may still be writing the same gradient
  const Tensor dbias = call.has_bias ? call.bias.grad : Tensor{};
  tape.op("linear_dactivation", {dy, call.y, call.aux}, {dy, dbias}, [&](const Exec& exec) {
    with_storage_type("linear", call.x, [&]<class T>(T) {
      BasicActivationBackwardBias<T> args{};
      args.activation = call.activation;
      args.batch = call.batch;
      args.dim = call.out;
      args.dy = dy.as<T>();
      args.y = call.y.as<T>();
      args.pre =
          needs_pre_activation(call.activation) ? static_cast<const T*>(call.aux.data) : nullptr;
      args.dx = dy.as<T>();
      args.dbias = call.has_bias ? call.bias.grad.as<Compute<T>>() : nullptr;
      args.dbias_mode = mode;
      activation_backward_bias(exec, args);
    });
  });
}

void backward_weight(Tape& tape, const LinearCall& call, const Tensor& dz, bool with_bias) {
  const GradMode mode = call.params->next_grad_mode(call.weight.index);
  const GradMode bias_mode =
      with_bias ? call.params->next_grad_mode(call.bias.index) : GradMode::write;
  if (uses_tensor_cores(tape, call.x)) {
    return tape.defer({.x = call.x,
                       .dy = dz,
                       .dweight = call.weight.grad,
                       .mode = mode,
                       .dbias = with_bias ? call.bias.grad : Tensor{},
                       .dbias_mode = bias_mode});
  }
  if (mode == GradMode::add || bias_mode == GradMode::add) tape.join();
  // Nothing but the optimiser waits for it, so the chain of input gradients need not.
  const Tensor dweight = call.weight.grad, dbias = with_bias ? call.bias.grad : Tensor{};
  tape.branch_op("linear_dweight", {call.x, dz}, {dweight, dbias}, [&](const Exec& exec) {
    with_storage_type("linear", call.x, [&]<class T>(T) {
      BasicLinearBackwardWeight<T> args{};
      args.x = call.x.as<T>();
      args.dy = dz.as<T>();
      args.dweight = call.weight.grad.as<Compute<T>>();
      args.mode = mode;
      args.dbias = with_bias ? call.bias.grad.as<Compute<T>>() : nullptr;
      args.dbias_mode = bias_mode;
      args.batch = call.batch;
      args.in = call.in;
      args.out = call.out;
      linear_backward_weight(exec, args);
    });
  });
}

// dx = dz W, with the producer's activation and bias gradient as its epilogue where that is
// possible.
void backward_data(Tape& tape, const LinearCall& call, const Tensor& dz) {
  const Epilogue* producer = tape.take_epilogue(call.x);
  const GradSlot slot = tape.grad_slot(call.x);
  if (!slot) return;
  const bool with_bias =
      producer && producer->has_bias && !linear_weight_takes_bias(tape.context().exec());
  const GradMode bias_mode =
      with_bias ? producer->params->next_grad_mode(producer->bias.index) : GradMode::write;
  const Tensor aux = producer ? producer->aux : Tensor{};
  if (bias_mode == GradMode::add) tape.join();
  const Tensor dbias = with_bias ? producer->bias.grad : Tensor{};
  tape.op("linear_dinput", {dz, call.x, aux, slot.dx}, {slot.dx, dbias}, [&](const Exec& exec) {
    with_storage_type("linear", call.x, [&]<class T>(T) {
      BasicInputActivation<T> input{};
      if (producer) {
        input.activation = producer->activation;
        input.y = call.x.as<T>();
        input.aux = aux.data;
        input.dbias = with_bias ? producer->bias.grad.as<Compute<T>>() : nullptr;
        input.dbias_mode = bias_mode;
      }
      BasicLinearBackwardData<T> args{};
      args.dy = dz.as<T>();
      args.weight = weight_values<T>(call.weight);
      args.dx = slot.dx.as<T>();
      args.mode = slot.mode;
      args.batch = call.batch;
      args.in = call.in;
      args.out = call.out;
      args.input = producer ? &input : nullptr;
      linear_backward_data(exec, args);
    });
  });
}

void backward(Tape& tape, const LinearCall& call) {
  const std::optional<Tensor> dy = tape.upstream(call.y);
  if (!dy) return;
  linear_backward_params(tape, call, *dy);
  backward_data(tape, call, *dy);
}

}  // namespace

LinearCall new_linear_call(Tape& tape, ParamStore& params, const Tensor& x, ParamStore::Id weight,
                           const ParamStore::Id* bias, Activation activation,
                           std::optional<DType> y_type) {
  LinearCall call{};
  call.params = &params;
  call.x = x;
  call.weight = params.param(weight);
  call.has_bias = bias != nullptr;
  if (bias) call.bias = params.param(*bias);
  call.activation = activation;
  const Shape& w = call.weight.value.shape;
  ELBO_CHECK(x.shape.rank() == 2 && w.rank() == 2 && x.shape[1] == w[1], "linear: x is ",
             x.shape.to_string(), ", weight ", w.to_string(),
             "; expected x [B, in], weight [out, in]");
  ELBO_CHECK(!bias || call.bias.value.size() == w[0], "linear: bias has ", call.bias.value.size(),
             " elements for ", w[0], " outputs");
  call.batch = x.shape[0];
  call.in = w[1];
  call.out = w[0];
  call.y = tape.new_value({call.batch, call.out}, y_type.value_or(x.dtype));
  const auto bytes = tape.recording() ? static_cast<int64_t>(aux_bytes(tape, call)) : 0;
  if (bytes > 0) call.aux = tape.new_buffer({bytes}, DType::u8);
  if (activation != Activation::identity) {
    tape.offer_epilogue({activation, call.y, call.aux, call.params, call.bias, call.has_bias});
  }
  return call;
}

void linear_backward_params(Tape& tape, const LinearCall& call, const Tensor& dy) {
  const bool linear_output = call.activation == Activation::identity;
  const bool undone = tape.epilogue_taken(call.y);
  if (!linear_output && !undone) backward_activation(tape, call, dy);
  const bool bias_is_left =
      linear_output || (undone && linear_weight_takes_bias(tape.context().exec()));
  backward_weight(tape, call, dy, call.has_bias && bias_is_left);
}

Tensor linear(Tape& tape, ParamStore& params, const Tensor& x, ParamStore::Id weight,
              const ParamStore::Id* bias, Activation activation) {
  const LinearCall call = new_linear_call(tape, params, x, weight, bias, activation);
  forward(tape, call);
  tape.record("linear", {x}, [call](Tape& t) { backward(t, call); });
  return call.y;
}

LinearCall record_linear(Tape& tape, ParamStore& params, const Tensor& x, ParamStore::Id weight,
                         const ParamStore::Id* bias) {
  const LinearCall call = new_linear_call(tape, params, x, weight, bias, Activation::identity);
  tape.record("linear", {x}, [call](Tape& t) { backward(t, call); });
  return call;
}

Tensor activation(Tape& tape, const Tensor& x, Activation kind) {
  const Tensor y = tape.new_value(x.shape, x.dtype);
  tape.op("activation", {x}, {y}, [&](const Exec& exec) {
    with_element_type("activation", x, [&]<class T>(T) {
      activation_forward(exec, kind, x.size(), x.as<T>(), y.as<T>());
    });
  });
  tape.record("activation", {x}, [x, y, kind](Tape& t) {
    const std::optional<Tensor> dy = t.upstream(y);
    const GradSlot slot = dy ? t.grad_slot(x) : GradSlot{};
    if (!slot) return;
    t.op("activation_backward", {*dy, x, y, slot.dx}, {slot.dx}, [&](const Exec& exec) {
      with_element_type("activation", x, [&]<class T>(T) {
        BasicActivationBackward<T> args{};
        args.activation = kind;
        args.n = x.size();
        args.dy = dy->as<T>();
        args.y = y.as<T>();
        args.pre = x.as<T>();
        args.dx = slot.dx.as<T>();
        args.mode = slot.mode;
        activation_backward(exec, args);
      });
    });
  });
  return y;
}

}  // namespace elbo
