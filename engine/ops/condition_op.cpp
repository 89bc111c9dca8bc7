#include "engine/ops/condition_op.h"

#include "kernels/append_label.h"

namespace elbo {
namespace {

Shape with_last(const Shape& shape, int64_t size) {
  if (shape.rank() == 2) return {shape[0], size};
  if (shape.rank() == 3) return {shape[0], shape[1], size};
  return {shape[0], shape[1], shape[2], size};
}

}  // namespace

Tensor append_label(Tape& tape, const Tensor& x, const Tensor& label, int64_t classes) {
  ELBO_CHECK(x.shape.rank() >= 2, "append_label: expected [B, ..., C], got ", x.shape.to_string());
  const int64_t batch = label.size(), times = batch > 0 ? x.shape[0] / batch : 1;
  ELBO_CHECK(label.dtype == DType::i32 && label.shape.rank() == 1 && batch * times == x.shape[0],
             "append_label: x is ", x.shape.to_string(), ", so an int32 label is needed for every ",
             "row, or for as many rows each; found ", dtype_name(label.dtype), " ",
             label.shape.to_string());
  const int last = x.shape.rank() - 1;
  const int64_t channels = x.shape[last];
  int64_t pixels = times;  // of all rows with one label
  for (int i = 1; i < last; ++i) pixels *= x.shape[i];
  const Tensor y = tape.new_value(with_last(x.shape, channels + classes), x.dtype);
  tape.op("append_label", {x, label}, {y}, [&](const Exec& exec) {
    with_storage_type("append_label", x, [&]<class T>(T) {
      AppendLabel<T> args;
      args.batch = batch;
      args.pixels = pixels;
      args.channels = channels;
      args.classes = classes;
      args.label = label.as<int32_t>();
      args.x = x.as<T>();
      args.y = y.as<T>();
      append_label_forward(exec, args);
    });
  });
  tape.record("append_label", {x}, [x, y, batch, pixels, channels, classes](Tape& t) {
    const std::optional<Tensor> dy = t.upstream(y);
    if (!dy) return;
    const GradSlot slot = t.grad_slot(x);
    if (!slot) return;
    t.op("append_label_backward", {*dy, slot.dx}, {slot.dx}, [&](const Exec& exec) {
      with_storage_type("append_label", x, [&]<class T>(T) {
        AppendLabelBackward<T> args;
        args.batch = batch;
        args.pixels = pixels;
        args.channels = channels;
        args.classes = classes;
        args.dy = dy->as<T>();
        args.dx = slot.dx.as<T>();
        args.mode = slot.mode;
        append_label_backward(exec, args);
      });
    });
  });
  return y;
}

}  // namespace elbo
