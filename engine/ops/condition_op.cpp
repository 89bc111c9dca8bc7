#include "engine/ops/condition_op.h"

#include "kernels/append_label.h"

namespace elbo {
namespace {

Shape with_last(const Shape& shape, int64_t size) {
  if (shape.rank() == 2) return {shape[0], size};
  if (shape.rank() == 3) return {shape[0], shape[1], size};
  return {shape[0], shape[1], shape[2], size};
}

// What a call of either op comes down to. Trivially copyable, for the backward closure.
struct Append {
  Tensor x, y;
  int64_t batch, pixels, channels, values;
};

// Whether x has a row for every entry of `told` along its first axis, or as many rows for each.
bool divides(const Tensor& x, const Tensor& told) {
  const int64_t batch = told.shape[0];
  return batch > 0 ? x.shape[0] % batch == 0 : x.shape[0] == 0;
}

Append new_call(Tape& tape, const Tensor& x, const Tensor& told, int64_t values) {
  const int64_t batch = told.shape[0], times = batch > 0 ? x.shape[0] / batch : 1;
  const int last = x.shape.rank() - 1;
  Append call{x, {}, batch, times, x.shape[last], values};
  for (int i = 1; i < last; ++i) call.pixels *= x.shape[i];
  call.y = tape.new_value(with_last(x.shape, call.channels + values), x.dtype);
  return call;
}

void record_backward(const char* op, Tape& tape, const Append& call) {
  tape.record(op, {call.x}, [call](Tape& t) {
    const std::optional<Tensor> dy = t.upstream(call.y);
    if (!dy) return;
    const GradSlot slot = t.grad_slot(call.x);
    if (!slot) return;
    t.op("append_label_backward", {*dy, slot.dx}, {slot.dx}, [&](const Exec& exec) {
      with_storage_type("append_label", call.x, [&]<class T>(T) {
        AppendLabelBackward<T> args;
        args.batch = call.batch;
        args.pixels = call.pixels;
        args.channels = call.channels;
        args.classes = call.values;
        args.dy = dy->as<T>();
        args.dx = slot.dx.as<T>();
        args.mode = slot.mode;
        append_label_backward(exec, args);
      });
    });
  });
}

}  // namespace

Tensor append_label(Tape& tape, const Tensor& x, const Tensor& label, int64_t classes) {
  ELBO_CHECK(x.shape.rank() >= 2, "append_label: expected [B, ..., C], got ", x.shape.to_string());
  ELBO_CHECK(label.dtype == DType::i32 && label.shape.rank() == 1 && divides(x, label),
             "append_label: x is ", x.shape.to_string(), ", so an int32 label is needed for every ",
             "row, or for as many rows each; found ", dtype_name(label.dtype), " ",
             label.shape.to_string());
  const Append call = new_call(tape, x, label, classes);
  tape.op("append_label", {x, label}, {call.y}, [&](const Exec& exec) {
    with_storage_type("append_label", x, [&]<class T>(T) {
      AppendLabel<T> args;
      args.batch = call.batch;
      args.pixels = call.pixels;
      args.channels = call.channels;
      args.classes = classes;
      args.label = label.as<int32_t>();
      args.x = x.as<T>();
      args.y = call.y.as<T>();
      append_label_forward(exec, args);
    });
  });
  record_backward("append_label", tape, call);
  return call.y;
}

Tensor append_attributes(Tape& tape, const Tensor& x, const Tensor& attributes, const Tensor& mean,
                         const Tensor& deviation) {
  ELBO_CHECK(x.shape.rank() >= 2, "append_attributes: expected [B, ..., C], got ",
             x.shape.to_string());
  const bool fits = attributes.dtype == DType::f32 && attributes.shape.rank() == 2;
  ELBO_CHECK(fits && divides(x, attributes), "append_attributes: x is ", x.shape.to_string(),
             ", so a row of f32 attributes ",
             "is needed for every row, or for as many rows each; found ",
             dtype_name(attributes.dtype), " ", attributes.shape.to_string());
  const int64_t count = attributes.shape[1];
  const DType type = x.dtype == DType::f64 ? DType::f64 : DType::f32;
  for (const Tensor& scale : {mean, deviation}) {
    ELBO_CHECK(scale.dtype == type && scale.size() == count, "append_attributes: the scale of ",
               count, " attributes is ", dtype_name(scale.dtype), " ", scale.shape.to_string());
  }
  const Append call = new_call(tape, x, attributes, count);
  tape.op("append_attributes", {x, attributes, mean, deviation}, {call.y}, [&](const Exec& exec) {
    with_storage_type("append_attributes", x, [&]<class T>(T) {
      AppendAttributes<T> args;
      args.batch = call.batch;
      args.pixels = call.pixels;
      args.channels = call.channels;
      args.count = count;
      args.attributes = attributes.as<float>();
      args.mean = mean.as<Compute<T>>();
      args.deviation = deviation.as<Compute<T>>();
      args.x = x.as<T>();
      args.y = call.y.as<T>();
      append_attributes_forward(exec, args);
    });
  });
  record_backward("append_attributes", tape, call);
  return call.y;
}

}  // namespace elbo
