#include "engine/ops/loss_op.h"

#include "engine/ops/basis_op.h"
#include "kernels/elementwise.h"
#include "kernels/loss_terms.h"
#include "kernels/sums.h"

namespace elbo {
namespace {

template <class T>
const T* input(const Tensor& tensor) {
  return tensor.as<T>();
}

// The tape's part of an op y = f(x). forward(exec, T{}, y) and backward(exec, T{}, dy, slot) launch it;
// `other` is a constant that both read.
template <class Forward, class Backward>
Tensor unary_op(Tape& tape, const char* name, const Tensor& x, const Tensor& other, Shape shape,
                const Forward& forward, const Backward& backward) {
  const Tensor y = tape.new_value(shape, x.dtype);
  tape.op(name, {x, other}, {y}, [&](const Exec& exec) {
    with_element_type(name, x, [&]<class T>(T) { forward(exec, T{}, y); });
  });
  tape.record(name, {x}, [name, x, other, y, backward](Tape& t) {
    const std::optional<Tensor> dy = t.upstream(y);
    const GradSlot slot = dy ? t.grad_slot(x) : GradSlot{};
    if (!slot) return;
    t.op(name, {x, other, *dy, slot.dx}, {slot.dx}, [&](const Exec& exec) {
      with_element_type(name, x, [&]<class T>(T) { backward(exec, T{}, *dy, slot); });
    });
  });
  return y;
}

void check_matrix(const char* op, const Tensor& x) {
  ELBO_CHECK(x.shape.rank() == 2, op, ": expected a matrix, got ", x.shape.to_string());
}

}  // namespace

Tensor weighted_loss(Tape& tape, const Tensor& x, const RowWeight& weight) {
  ELBO_CHECK(weight.given(), "weighted_loss: a weight is needed");
  check_row_weight("weighted_loss", weight, x.size());
  const int64_t n = x.size();
  const Tensor y = tape.new_buffer({1}, x.dtype);
  tape.op("weighted_loss", {x, weight.values}, {y}, [&](const Exec& exec) {
    with_element_type("weighted_loss", x, [&]<class T>(T) {
      weighted_sum(exec, n, input<T>(x), weight.as<T>(n), y.as<T>());
    });
  });
  tape.record("weighted_loss", {x}, [x, weight, n](Tape& t) {
    const GradSlot slot = t.grad_slot(x);
    if (!slot) return;
    t.op("weighted_loss_backward", {weight.values, slot.dx}, {slot.dx}, [&](const Exec& exec) {
      with_element_type("weighted_loss", x, [&]<class T>(T) {
        weighted_sum_backward(exec, n, weight.as<T>(n), slot.dx.as<T>(), slot.mode);
      });
    });
  });
  return y;
}

Tensor shift(Tape& tape, const Tensor& x, double c) {
  return unary_op(
      tape, "shift", x, {}, x.shape,
      [=]<class T>(const Exec& exec, T, const Tensor& y) {
        elbo::shift(exec, x.size(), input<T>(x), c, y.as<T>());
      },
      [=]<class T>(const Exec& exec, T, const Tensor& dy, const GradSlot& slot) {
        elbo::scale(exec, x.size(), Compute<T>{1}, input<T>(dy), slot.dx.as<T>(), slot.mode);
      });
}

Tensor at_least(Tape& tape, const Tensor& x, float floor) {
  return unary_op(
      tape, "at_least", x, {}, x.shape,
      [=]<class T>(const Exec& exec, T, const Tensor& y) {
        at_least_forward(exec, x.size(), input<T>(x), floor, y.as<T>());
      },
      [=]<class T>(const Exec& exec, T, const Tensor& dy, const GradSlot& slot) {
        at_least_backward(exec, x.size(), input<T>(x), floor, input<T>(dy), slot.dx.as<T>(),
                          slot.mode);
      });
}

Tensor distance(Tape& tape, const Tensor& x, const Tensor& target) {
  ELBO_CHECK(target.size() == 1, "distance: the target has ", target.size(),
             " elements; expected one");
  return unary_op(
      tape, "distance", x, target, x.shape,
      [=]<class T>(const Exec& exec, T, const Tensor& y) {
        distance_forward(exec, x.size(), input<T>(x), input<T>(target), y.as<T>());
      },
      [=]<class T>(const Exec& exec, T, const Tensor& dy, const GradSlot& slot) {
        distance_backward(exec, x.size(), input<T>(x), input<T>(target), input<T>(dy),
                          slot.dx.as<T>(), slot.mode);
      });
}

Tensor l1_rows(Tape& tape, const Tensor& x) {
  check_matrix("l1_rows", x);
  const int64_t rows = x.shape[0], cols = x.shape[1];
  return unary_op(
      tape, "l1_rows", x, {}, {rows},
      [=]<class T>(const Exec& exec, T, const Tensor& y) {
        l1_rows_forward(exec, rows, cols, input<T>(x), y.as<T>());
      },
      [=]<class T>(const Exec& exec, T, const Tensor& dy, const GradSlot& slot) {
        l1_rows_backward(exec, rows, cols, input<T>(x), input<T>(dy), slot.dx.as<T>(), slot.mode);
      });
}

Tensor mean_rows(Tape& tape, const Tensor& x) {
  check_matrix("mean_rows", x);
  const int64_t rows = x.shape[0], cols = x.shape[1];
  ELBO_CHECK(rows > 0, "mean_rows: an empty batch has no mean");
  return unary_op(
      tape, "mean_rows", x, {}, {cols},
      [=]<class T>(const Exec& exec, T, const Tensor& y) {
        sum_cols(exec, rows, cols, input<T>(x), y.as<T>(), T(1) / static_cast<T>(rows));
      },
      [=]<class T>(const Exec& exec, T, const Tensor& dy, const GradSlot& slot) {
        broadcast_cols(exec, rows, cols, input<T>(dy), slot.dx.as<T>(), T(1) / static_cast<T>(rows),
                       slot.mode);
      });
}

Tensor bernoulli_kl(Tape& tape, float rho, const Tensor& x) {
  return unary_op(
      tape, "bernoulli_kl", x, {}, x.shape,
      [=]<class T>(const Exec& exec, T, const Tensor& y) {
        bernoulli_kl_forward(exec, x.size(), rho, input<T>(x), y.as<T>());
      },
      [=]<class T>(const Exec& exec, T, const Tensor& dy, const GradSlot& slot) {
        bernoulli_kl_backward(exec, x.size(), rho, input<T>(x), input<T>(dy), slot.dx.as<T>(),
                              slot.mode);
      });
}

void importance_weights(Tape& tape, const Tensor& log_weight, const Tensor& w) {
  check_matrix("importance_weights", log_weight);
  ELBO_CHECK(w.size() == log_weight.size(), "importance_weights: ", w.shape.to_string(), " for ",
             log_weight.shape.to_string());
  const int64_t rows = log_weight.shape[0], cols = log_weight.shape[1];
  const Tensor log_sum = logsumexp_rows(tape, detach(log_weight));
  tape.op("importance_weights", {log_weight, log_sum}, {w}, [&](const Exec& exec) {
    with_element_type("importance_weights", log_weight, [&]<class T>(T) {
      log_ratio_weights(exec, rows, cols, input<T>(log_weight), input<T>(log_sum), w.as<T>());
    });
  });
}

Tensor scale_grad_rows(Tape& tape, const Tensor& x, const Tensor& w) {
  check_matrix("scale_grad_rows", x);
  ELBO_CHECK(w.size() == x.shape[0], "scale_grad_rows: ", w.size(), " weights for ", x.shape[0],
             " rows");
  const Tensor y = tape.new_alias(x, x.shape);
  tape.record("scale_grad_rows", {x}, [x, y, w](Tape& t) {
    const std::optional<Tensor> dy = t.upstream(y);
    const GradSlot slot = dy ? t.grad_slot(x) : GradSlot{};
    if (!slot) return;
    t.op("scale_grad_rows", {*dy, w, slot.dx}, {slot.dx}, [&](const Exec& exec) {
      with_element_type("scale_grad_rows", x, [&]<class T>(T) {
        scale_rows(exec, x.shape[0], x.shape[1], input<T>(*dy), input<T>(w), slot.dx.as<T>(),
                   slot.mode);
      });
    });
  });
  return y;
}

}  // namespace elbo
