#include "engine/ops/parameter_op.h"

#include "kernels/activation_op.h"

namespace elbo {

Tensor parameter(Tape& tape, ParamStore& params, ParamStore::Id id, Activation activation) {
  ELBO_CHECK(!needs_pre_activation(activation), "parameter: the slope of ",
             activation_name(activation), " does not follow from its value");
  const Tensor value = params.param(id).value;
  const Tensor y = tape.new_value(value.shape, value.dtype);
  tape.op("parameter", {}, {y}, [&](const Exec& exec) {
    with_element_type("parameter", y, [&]<class T>(T) {
      activation_forward<T>(exec, activation, y.size(), value.as<T>(), y.as<T>());
    });
  });
  tape.record("parameter", {}, [store = &params, id, activation, y](Tape& t) {
    const std::optional<Tensor> dy = t.upstream(y);
    if (!dy) return;
    const GradMode mode = store->next_grad_mode(id);
    const Tensor gradient = store->param(id).grad;
    t.op("parameter_backward", {y, *dy}, {gradient}, [&](const Exec& exec) {
      with_element_type("parameter", y, [&]<class T>(T) {
        BasicActivationBackward<T> args{};
        args.activation = activation;
        args.n = y.size();
        args.dy = dy->as<T>();
        args.y = y.as<T>();
        args.dx = gradient.as<T>();
        args.mode = mode;
        activation_backward(exec, args);
      });
    });
  });
  return y;
}

}  // namespace elbo
