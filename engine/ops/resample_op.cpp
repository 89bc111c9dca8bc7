#include "engine/ops/resample_op.h"

#include "engine/ops/basis_op.h"
#include "kernels/resample.h"

namespace elbo {
namespace {

struct ResampleCall {
  Tensor x, y;
  ResampleAxis height, width;
};

template <class T>
Resample<T> arguments(const ResampleCall& call, const Tensor& from, const Tensor& to,
                      GradMode mode) {
  Resample<T> args{};
  args.batch = call.x.shape[0];
  args.channels = call.x.shape[3];
  args.height = call.height;
  args.width = call.width;
  args.from = from.as<T>();
  args.to = to.as<T>();
  args.mode = mode;
  return args;
}

void check_picture(const char* op, const Tensor& x) {
  ELBO_CHECK(x.shape.rank() == 4, op, ": expected [B, H, W, C], got ", x.shape.to_string());
}

// `name` and `backward_name` must outlive the tape's runs.
Tensor resample(const char* name, const char* backward_name, Tape& tape, const Tensor& x,
                const ResampleAxis& height, const ResampleAxis& width) {
  ResampleCall call{x, {}, height, width};
  call.y = tape.new_value({x.shape[0], height.out, width.out, x.shape[3]}, x.dtype);
  tape.op(name, {x}, {call.y}, [&](const Exec& exec) {
    with_storage_type(name, x, [&]<class T>(T) {
      resample_forward(exec, arguments<T>(call, x, call.y, GradMode::write));
    });
  });
  tape.record(name, {x}, [call, backward_name](Tape& t) {
    const std::optional<Tensor> dy = t.upstream(call.y);
    const GradSlot slot = dy ? t.grad_slot(call.x) : GradSlot{};
    if (!slot) return;
    t.op(backward_name, {*dy, slot.dx}, {slot.dx}, [&](const Exec& exec) {
      with_storage_type(backward_name, call.x, [&]<class T>(T) {
        resample_backward(exec, arguments<T>(call, *dy, slot.dx, slot.mode));
      });
    });
  });
  return call.y;
}

}  // namespace

Tensor upsample(Tape& tape, const Tensor& x, Upsampling kind, int64_t height, int64_t width) {
  check_picture("upsample", x);
  const ResampleKind axis =
      kind == Upsampling::nearest ? ResampleKind::nearest : ResampleKind::bilinear;
  return resample("upsample", "upsample_backward", tape, x, upsample_axis(axis, x.shape[1], height),
                  upsample_axis(axis, x.shape[2], width));
}

Tensor upsample_by(Tape& tape, const Tensor& x, Upsampling kind, int64_t factor) {
  check_picture("upsample_by", x);
  ELBO_CHECK(factor > 0, "upsample_by: the factor is ", factor, "; expected at least 1");
  return upsample(tape, x, kind, factor * x.shape[1], factor * x.shape[2]);
}

Tensor avg_pool2d(Tape& tape, const Tensor& x, const AvgPoolOptions& options) {
  check_picture("avg_pool2d", x);
  const auto axis = [&](int64_t in) {
    return average_axis(in, options.kernel, options.stride, options.padding,
                        options.count_include_pad);
  };
  return resample("avg_pool2d", "avg_pool2d_backward", tape, x, axis(x.shape[1]), axis(x.shape[2]));
}

Tensor global_avg_pool(Tape& tape, const Tensor& x) {
  check_picture("global_avg_pool", x);
  const auto axis = [](int64_t in) { return average_axis(in, in, in, 0, true); };
  return flatten(tape, resample("global_avg_pool", "global_avg_pool_backward", tape, x,
                                axis(x.shape[1]), axis(x.shape[2])));
}

}  // namespace elbo
