#include "engine/ops/contractive_op.h"

#include "kernels/contractive.h"

namespace elbo {
namespace {

template <class T>
JacobianNorm<T> arguments(const Tensor& slope, const Param& weight, const Tensor& row_norms) {
  JacobianNorm<T> args;
  args.slope = slope.as<T>();
  args.weight = weight.value.as<T>();
  args.row_norms = row_norms.as<T>();
  args.batch = slope.shape[0];
  args.out = slope.shape[1];
  args.in = weight.value.shape[1];
  return args;
}

}  // namespace

Tensor activation_slope(Tape& tape, const Tensor& y, Activation kind) {
  const Tensor s = tape.new_value(y.shape, y.dtype);
  tape.op("activation_slope", {y}, {s}, [&](const Exec& exec) {
    with_element_type("activation_slope", y, [&]<class T>(T) {
      activation_slope_forward(exec, y.size(), kind, static_cast<const T*>(y.as<T>()), s.as<T>());
    });
  });
  tape.record("activation_slope", {y}, [y, s, kind](Tape& t) {
    const std::optional<Tensor> ds = t.upstream(s);
    const GradSlot slot = ds ? t.grad_slot(y) : GradSlot{};
    if (!slot) return;
    t.op("activation_slope_backward", {y, *ds, slot.dx}, {slot.dx}, [&](const Exec& exec) {
      with_element_type("activation_slope", y, [&]<class T>(T) {
        activation_slope_backward(exec, y.size(), kind, static_cast<const T*>(y.as<T>()),
                                  static_cast<const T*>(ds->as<T>()), slot.dx.as<T>(), slot.mode);
      });
    });
  });
  return s;
}

Tensor jacobian_norm(Tape& tape, ParamStore& params, const Tensor& slope, ParamStore::Id weight) {
  const Param w = params.param(weight);
  ELBO_CHECK(
      slope.shape.rank() == 2 && w.value.shape.rank() == 2 && slope.shape[1] == w.value.shape[0],
      "jacobian_norm: slopes are ", slope.shape.to_string(), ", the weight ",
      w.value.shape.to_string(), "; expected [B, D] and [D, in]");
  const int64_t out = slope.shape[1];
  const Tensor row_norms = tape.new_buffer({out}, slope.dtype);
  const Tensor norm = tape.new_value({slope.shape[0]}, slope.dtype);
  tape.op("jacobian_norm", {slope}, {row_norms, norm}, [&](const Exec& exec) {
    with_element_type("jacobian_norm", slope, [&]<class T>(T) {
      jacobian_norm_forward(exec, arguments<T>(slope, w, row_norms), norm.as<T>());
    });
  });
  ParamStore* store = &params;
  tape.record("jacobian_norm", {slope}, [store, slope, w, row_norms, norm, out](Tape& t) {
    const std::optional<Tensor> dnorm = t.upstream(norm);
    if (!dnorm) return;
    const GradSlot slot = t.grad_slot(slope);
    const GradMode mode = store->next_grad_mode(w.index);
    if (mode == GradMode::add) t.join();  // a branch may be writing what this adds to
    const Tensor row_sums = t.new_buffer({out}, slope.dtype);
    t.op("jacobian_norm_backward", {slope, row_norms, *dnorm, slot.dx}, {row_sums, slot.dx, w.grad},
         [&](const Exec& exec) {
           with_element_type("jacobian_norm", slope, [&]<class T>(T) {
             jacobian_norm_backward(exec, arguments<T>(slope, w, row_norms),
                                    static_cast<const T*>(dnorm->as<T>()), row_sums.as<T>(),
                                    slot ? slot.dx.as<T>() : nullptr, slot.mode, w.grad.as<T>(),
                                    mode);
           });
         });
  });
  return norm;
}

}  // namespace elbo
