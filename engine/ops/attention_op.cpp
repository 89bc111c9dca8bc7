#include "engine/ops/attention_op.h"

#include "engine/ops/op_support.h"
#include "kernels/attention.h"

namespace elbo {
namespace {

struct AttentionCall {
  Tensor q, k, v, y, p;
  int64_t batch, positions, channels;
};

void backward(Tape& tape, const AttentionCall& call) {
  const std::optional<Tensor> dy = tape.upstream(call.y);
  if (!dy) return;
  // In the kernel's order: where q, k and v are one value, the second and third add to the first.
  const GradSlot dq = tape.grad_slot(call.q), dk = tape.grad_slot(call.k),
                 dv = tape.grad_slot(call.v);
  if (!dq && !dk && !dv) return;
  const Tensor work = tape.new_buffer(call.p.shape, call.p.dtype);
  tape.op("attention_backward", {call.q, call.k, call.v, call.p, *dy, dq.dx, dk.dx, dv.dx},
          {dq.dx, dk.dx, dv.dx, work}, [&](const Exec& exec) {
            with_storage_type("attention", call.q, [&]<class T>(T) {
              using R = Compute<T>;
              AttentionBackward<T> args{};
              args.batch = call.batch;
              args.positions = call.positions;
              args.channels = call.channels;
              args.q = call.q.as<T>();
              args.k = call.k.as<T>();
              args.v = call.v.as<T>();
              args.dy = dy->as<T>();
              args.p = call.p.as<R>();
              args.work = work.as<R>();
              if (dq) args.dq = dq.dx.as<T>();
              if (dk) args.dk = dk.dx.as<T>();
              if (dv) args.dv = dv.dx.as<T>();
              args.dq_mode = dq.mode;
              args.dk_mode = dk.mode;
              args.dv_mode = dv.mode;
              attention_backward(exec, args);
            });
          });
}

}  // namespace

Tensor attention(Tape& tape, const Tensor& q, const Tensor& k, const Tensor& v) {
  const int rank = q.shape.rank();
  ELBO_CHECK(rank == 3 || rank == 4, "attention: q is ", q.shape.to_string(),
             "; expected [B, H, W, C] or [B, N, C]");
  for (const Tensor& other : {k, v}) {
    ELBO_CHECK(other.shape == q.shape && other.dtype == q.dtype, "attention: q is ",
               q.shape.to_string(), ", k ", k.shape.to_string(), ", v ", v.shape.to_string(),
               "; expected one shape and type");
  }
  AttentionCall call{q, k, v, {}, {}, q.shape[0], q.shape[1], q.shape[rank - 1]};
  if (rank == 4) call.positions *= q.shape[2];
  call.y = tape.new_value(q.shape, q.dtype);
  call.p = tape.new_buffer({call.batch, call.positions, call.positions},
                           q.dtype == DType::f64 ? DType::f64 : DType::f32);
  tape.op("attention", {q, k, v}, {call.y, call.p}, [&](const Exec& exec) {
    with_storage_type("attention", q, [&]<class T>(T) {
      AttentionForward<T> args{};
      args.batch = call.batch;
      args.positions = call.positions;
      args.channels = call.channels;
      args.q = q.as<T>();
      args.k = k.as<T>();
      args.v = v.as<T>();
      args.p = call.p.as<Compute<T>>();
      args.y = call.y.as<T>();
      attention_forward(exec, args);
    });
  });
  tape.record("attention", {q, k, v}, [call](Tape& t) { backward(t, call); });
  return call.y;
}

}  // namespace elbo
