#include "engine/ops/basis_op.h"

#include "kernels/elementwise.h"

namespace elbo {
namespace {

void check_same_shape(const char* op, const Tensor& a, const Tensor& b) {
  ELBO_CHECK(a.shape == b.shape && a.dtype == b.dtype, op, ": operands are ", a.shape.to_string(),
             " and ", b.shape.to_string());
}

void check_matrix(const char* op, const Tensor& x) {
  ELBO_CHECK(x.shape.rank() == 2, op, ": expected a matrix, got ", x.shape.to_string());
}

// dx (+)= factor * dy, the backward of everything linear with equal shapes.
void pass_scaled(Tape& tape, const char* name, const Tensor& dy, const Tensor& x, double factor) {
  const GradSlot slot = tape.grad_slot(x);
  if (!slot) return;
  tape.op(name, {dy, slot.dx}, {slot.dx}, [&](const Exec& exec) {
    with_storage_type(name, x, [&]<class T>(T) {
      scale(exec, x.size(), static_cast<Compute<T>>(factor), static_cast<const T*>(dy.as<T>()),
            slot.dx.as<T>(), slot.mode);
    });
  });
}

// dx (+)= dy * other
void pass_product(Tape& tape, const char* name, const Tensor& dy, const Tensor& other,
                  const Tensor& x) {
  const GradSlot slot = tape.grad_slot(x);
  if (!slot) return;
  tape.op(name, {dy, other, slot.dx}, {slot.dx}, [&](const Exec& exec) {
    with_element_type(name, x, [&]<class T>(T) {
      mul(exec, x.size(), static_cast<const T*>(dy.as<T>()), static_cast<const T*>(other.as<T>()),
          slot.dx.as<T>(), slot.mode);
    });
  });
}

// A block of columns: `count` of them from `from` of src to `to` of dst.
void copy_cols(Tape& tape, const char* name, const Tensor& src, int64_t from, const Tensor& dst,
               int64_t to, int64_t count, GradMode mode) {
  tape.op(name, {src, dst}, {dst}, [&](const Exec& exec) {
    with_element_type(name, src, [&]<class T>(T) {
      copy_matrix(exec, src.shape[0], count, static_cast<const T*>(src.as<T>()) + from,
                  src.shape[1], dst.as<T>() + to, dst.shape[1], mode);
    });
  });
}

}  // namespace

Tensor add(Tape& tape, const Tensor& a, const Tensor& b) {
  check_same_shape("add", a, b);
  const Tensor y = tape.new_value(a.shape, a.dtype);
  tape.op("add", {a, b}, {y}, [&](const Exec& exec) {
    with_storage_type("add", a, [&]<class T>(T) {
      elbo::add(exec, a.size(), static_cast<const T*>(a.as<T>()), static_cast<const T*>(b.as<T>()),
                y.as<T>(), GradMode::write);
    });
  });
  tape.record("add", {a, b}, [a, b, y](Tape& t) {
    const std::optional<Tensor> dy = t.upstream(y);
    if (!dy) return;
    pass_scaled(t, "add_backward", *dy, a, 1.0);
    pass_scaled(t, "add_backward", *dy, b, 1.0);
  });
  return y;
}

Tensor mul(Tape& tape, const Tensor& a, const Tensor& b) {
  check_same_shape("mul", a, b);
  const Tensor y = tape.new_value(a.shape, a.dtype);
  tape.op("mul", {a, b}, {y}, [&](const Exec& exec) {
    with_element_type("mul", a, [&]<class T>(T) {
      elbo::mul(exec, a.size(), static_cast<const T*>(a.as<T>()), static_cast<const T*>(b.as<T>()),
                y.as<T>(), GradMode::write);
    });
  });
  tape.record("mul", {a, b}, [a, b, y](Tape& t) {
    const std::optional<Tensor> dy = t.upstream(y);
    if (!dy) return;
    pass_product(t, "mul_backward", *dy, b, a);
    pass_product(t, "mul_backward", *dy, a, b);
  });
  return y;
}

Tensor scale(Tape& tape, const Tensor& x, double factor) {
  const Tensor y = tape.new_value(x.shape, x.dtype);
  tape.op("scale", {x}, {y}, [&](const Exec& exec) {
    with_element_type("scale", x, [&]<class T>(T) {
      elbo::scale(exec, x.size(), static_cast<Compute<T>>(factor), static_cast<const T*>(x.as<T>()),
                  y.as<T>(), GradMode::write);
    });
  });
  tape.record("scale", {x}, [x, y, factor](Tape& t) {
    if (const std::optional<Tensor> dy = t.upstream(y)) {
      pass_scaled(t, "scale_backward", *dy, x, factor);
    }
  });
  return y;
}

namespace {

void convert_between(Tape& tape, const char* name, const Tensor& x, const Tensor& y,
                     GradMode mode) {
  tape.op(name, {x, y}, {y}, [&](const Exec& exec) {
    if (x.dtype == DType::f32) {
      convert<float>(exec, x.size(), x.as<float>(), y.as<bf16>(), mode);
    } else {
      convert<bf16>(exec, x.size(), x.as<bf16>(), y.as<float>(), mode);
    }
  });
}

}  // namespace

Tensor cast(Tape& tape, const Tensor& x, DType type) {
  if (x.dtype == type) return x;
  const auto known = [](DType t) { return t == DType::f32 || t == DType::bf16; };
  ELBO_CHECK(known(x.dtype) && known(type), "cast: ", dtype_name(x.dtype), " to ", dtype_name(type),
             "; expected f32 and bf16");
  const Tensor y = tape.new_value(x.shape, type);
  convert_between(tape, "cast", x, y, GradMode::write);
  tape.record("cast", {x}, [x, y](Tape& t) {
    const std::optional<Tensor> dy = t.upstream(y);
    const GradSlot slot = dy ? t.grad_slot(x) : GradSlot{};
    if (slot) convert_between(t, "cast_backward", *dy, slot.dx, slot.mode);
  });
  return y;
}

Tensor concat_cols(Tape& tape, const Tensor& a, const Tensor& b) {
  check_matrix("concat_cols", a);
  check_matrix("concat_cols", b);
  ELBO_CHECK(a.shape[0] == b.shape[0] && a.dtype == b.dtype, "concat_cols: operands are ",
             a.shape.to_string(), " and ", b.shape.to_string());
  const int64_t left = a.shape[1], right = b.shape[1];
  const Tensor y = tape.new_value({a.shape[0], left + right}, a.dtype);
  copy_cols(tape, "concat_cols", a, 0, y, 0, left, GradMode::write);
  copy_cols(tape, "concat_cols", b, 0, y, left, right, GradMode::write);
  tape.record("concat_cols", {a, b}, [a, b, y, left, right](Tape& t) {
    const std::optional<Tensor> dy = t.upstream(y);
    if (!dy) return;
    if (const GradSlot slot = t.grad_slot(a)) {
      copy_cols(t, "concat_cols_backward", *dy, 0, slot.dx, 0, left, slot.mode);
    }
    if (const GradSlot slot = t.grad_slot(b)) {
      copy_cols(t, "concat_cols_backward", *dy, left, slot.dx, 0, right, slot.mode);
    }
  });
  return y;
}

Tensor slice_cols(Tape& tape, const Tensor& x, int64_t begin, int64_t end) {
  check_matrix("slice_cols", x);
  ELBO_CHECK(0 <= begin && begin <= end && end <= x.shape[1], "slice_cols: [", begin, ", ", end,
             ") of ", x.shape.to_string());
  const int64_t width = end - begin;
  const Tensor y = tape.new_value({x.shape[0], width}, x.dtype);
  copy_cols(tape, "slice_cols", x, begin, y, 0, width, GradMode::write);
  tape.record("slice_cols", {x}, [x, y, begin, width](Tape& t) {
    const std::optional<Tensor> dy = t.upstream(y);
    const GradSlot slot = dy ? t.grad_slot(x) : GradSlot{};
    if (!slot) return;
    const bool clear_rest = slot.mode == GradMode::write && width < x.shape[1];
    if (clear_rest) {  // the columns outside the slice get no gradient from here, but need a value
      t.op("slice_cols_clear", {slot.dx}, {slot.dx}, [&](const Exec& exec) {
        with_element_type("slice_cols", x, [&]<class T>(T) {
          fill(exec, x.size(), Compute<T>{0}, slot.dx.as<T>());
        });
      });
    }
    copy_cols(t, "slice_cols_backward", *dy, 0, slot.dx, begin, width, slot.mode);
  });
  return y;
}

Tensor repeat_rows(Tape& tape, const Tensor& x, int64_t times) {
  check_matrix("repeat_rows", x);
  ELBO_CHECK(times >= 0, "repeat_rows: times is ", times);
  const int64_t rows = x.shape[0], cols = x.shape[1];
  const Tensor y = tape.new_value({rows * times, cols}, x.dtype);
  tape.op("repeat_rows", {x}, {y}, [&](const Exec& exec) {
    with_element_type("repeat_rows", x, [&]<class T>(T) {
      elbo::repeat_rows(exec, rows, cols, times, static_cast<const T*>(x.as<T>()), y.as<T>(),
                        GradMode::write);
    });
  });
  tape.record("repeat_rows", {x}, [x, y, rows, cols, times](Tape& t) {
    const std::optional<Tensor> dy = t.upstream(y);
    const GradSlot slot = dy ? t.grad_slot(x) : GradSlot{};
    if (!slot) return;
    t.op("repeat_rows_backward", {*dy, slot.dx}, {slot.dx}, [&](const Exec& exec) {
      with_element_type("repeat_rows", x, [&]<class T>(T) {
        sum_repeated_rows(exec, rows, cols, times, static_cast<const T*>(dy->as<T>()),
                          slot.dx.as<T>(), slot.mode);
      });
    });
  });
  return y;
}

Tensor reshape(Tape& tape, const Tensor& x, Shape shape) {
  const Tensor y = tape.new_alias(x, shape);
  tape.record("reshape", {x}, [x, y](Tape& t) {
    const std::optional<Tensor> dy = t.upstream(y);
    if (!dy || t.adopt_grad(x, *dy)) return;
    pass_scaled(t, "reshape_backward", *dy, x, 1.0);  // x has other consumers
  });
  return y;
}

Tensor flatten(Tape& tape, const Tensor& x) {
  ELBO_CHECK(x.shape.rank() > 0, "flatten: a scalar has no rows");
  int64_t cols = 1;
  for (int axis = 1; axis < x.shape.rank(); ++axis) cols *= x.shape[axis];
  return reshape(tape, x, Shape{x.shape[0], cols});
}

Tensor detach(const Tensor& x) {
  Tensor y = x;
  y.value = -1;
  return y;
}

Tensor scale_grad(Tape& tape, const Tensor& x, double factor) {
  const Tensor y = tape.new_alias(x, x.shape);
  tape.record("scale_grad", {x}, [x, y, factor](Tape& t) {
    if (const std::optional<Tensor> dy = t.upstream(y)) {
      pass_scaled(t, "scale_grad_backward", *dy, x, factor);
    }
  });
  return y;
}

}  // namespace elbo
