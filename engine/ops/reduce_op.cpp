// The reductions of engine/ops/basis_op.h.
#include "engine/ops/basis_op.h"
#include "kernels/softmax.h"
#include "kernels/sums.h"

namespace elbo {

Tensor sum_rows(Tape& tape, const Tensor& x) {
  ELBO_CHECK(x.shape.rank() == 2, "sum_rows: expected a matrix, got ", x.shape.to_string());
  const int64_t rows = x.shape[0], cols = x.shape[1];
  const Tensor y = tape.new_value({rows}, x.dtype);
  tape.op("sum_rows", {x}, {y}, [&](const Exec& exec) {
    with_element_type("sum_rows", x, [&]<class T>(T) {
      elbo::sum_rows(exec, rows, cols, static_cast<const T*>(x.as<T>()), y.as<T>());
    });
  });
  tape.record("sum_rows", {x}, [x, y, rows, cols](Tape& t) {
    const std::optional<Tensor> dy = t.upstream(y);
    const GradSlot slot = dy ? t.grad_slot(x) : GradSlot{};
    if (!slot) return;
    t.op("sum_rows_backward", {*dy, slot.dx}, {slot.dx}, [&](const Exec& exec) {
      with_element_type("sum_rows", x, [&]<class T>(T) {
        broadcast_rows(exec, rows, cols, static_cast<const T*>(dy->as<T>()), slot.dx.as<T>(),
                       Compute<T>{1}, slot.mode);
      });
    });
  });
  return y;
}

Tensor sum_all(Tape& tape, const Tensor& x) {
  const Tensor y = tape.new_value({1}, x.dtype);
  tape.op("sum_all", {x}, {y}, [&](const Exec& exec) {
    with_element_type("sum_all", x, [&]<class T>(T) {
      elbo::sum_all(exec, x.size(), static_cast<const T*>(x.as<T>()), y.as<T>());
    });
  });
  tape.record("sum_all", {x}, [x, y](Tape& t) {
    const std::optional<Tensor> dy = t.upstream(y);
    const GradSlot slot = dy ? t.grad_slot(x) : GradSlot{};
    if (!slot) return;
    t.op("sum_all_backward", {*dy, slot.dx}, {slot.dx}, [&](const Exec& exec) {
      with_element_type("sum_all", x, [&]<class T>(T) {
        broadcast_all(exec, x.size(), static_cast<const T*>(dy->as<T>()), slot.dx.as<T>(),
                      Compute<T>{1}, slot.mode);
      });
    });
  });
  return y;
}

Tensor logsumexp_rows(Tape& tape, const Tensor& x) {
  ELBO_CHECK(x.shape.rank() == 2, "logsumexp_rows: expected a matrix, got ", x.shape.to_string());
  const int64_t rows = x.shape[0], cols = x.shape[1];
  const Tensor y = tape.new_value({rows}, x.dtype);
  tape.op("logsumexp_rows", {x}, {y}, [&](const Exec& exec) {
    with_element_type("logsumexp_rows", x, [&]<class T>(T) {
      logsumexp_forward(exec, rows, cols, static_cast<const T*>(x.as<T>()), y.as<T>());
    });
  });
  tape.record("logsumexp_rows", {x}, [x, y, rows, cols](Tape& t) {
    const std::optional<Tensor> dy = t.upstream(y);
    const GradSlot slot = dy ? t.grad_slot(x) : GradSlot{};
    if (!slot) return;
    t.op("logsumexp_rows_backward", {x, y, *dy, slot.dx}, {slot.dx}, [&](const Exec& exec) {
      with_element_type("logsumexp_rows", x, [&]<class T>(T) {
        logsumexp_backward(exec, rows, cols, static_cast<const T*>(x.as<T>()),
                           static_cast<const T*>(y.as<T>()), static_cast<const T*>(dy->as<T>()),
                           slot.dx.as<T>(), slot.mode);
      });
    });
  });
  return y;
}

Tensor cross_entropy(Tape& tape, const Tensor& logits, const Tensor& labels,
                     const RowWeight& weight) {
  ELBO_CHECK(logits.shape.rank() == 2 && labels.size() == logits.shape[0], "cross_entropy: logits ",
             logits.shape.to_string(), ", labels ", labels.shape.to_string());
  const int64_t rows = logits.shape[0], cols = logits.shape[1];
  check_row_weight("cross_entropy", weight, rows);
  const Tensor loss = tape.new_buffer({rows}, logits.dtype);
  const GradSlot slot = weight.given() ? tape.grad_slot(logits) : GradSlot{};
  const Tensor dlogits = slot ? slot.dx : Tensor{};
  tape.op("cross_entropy", {logits, labels, weight.values}, {loss, dlogits}, [&](const Exec& exec) {
    with_element_type("cross_entropy", logits, [&]<class T>(T) {
      SoftmaxCrossEntropy<T> args{};
      args.logits = logits.as<T>();
      args.labels = labels.as<int32_t>();
      args.rows = rows;
      args.cols = cols;
      args.loss = loss.as<T>();
      args.dlogits = slot ? dlogits.as<T>() : nullptr;
      args.weight = weight.as<T>(rows);
      args.mode = slot.mode;
      softmax_cross_entropy(exec, args);
    });
  });
  return loss;
}

}  // namespace elbo
