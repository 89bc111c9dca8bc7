#include "engine/ops/latent_op.h"

#include "engine/ops/basis_op.h"
#include "kernels/reparam_kl.h"

namespace elbo {
namespace {

// [mu | logvar] as the two halves of every row.
template <class T>
struct Halves {
  T* mu;
  T* logvar;
  int64_t stride;

  explicit Halves(const Tensor& stats)
      : mu(stats.as<T>()), logvar(mu + stats.shape[1] / 2), stride(stats.shape[1]) {}
};

void check_stats(const char* op, const Tensor& stats) {
  ELBO_CHECK(stats.shape.rank() == 2 && stats.shape[1] % 2 == 0, op, ": expected [B, 2D], got ",
             stats.shape.to_string());
}

}  // namespace

LatentSample reparam_kl(Tape& tape, const Tensor& stats, const NoiseSource& noise,
                        const RowWeight& kl_weight) {
  check_stats("reparam_kl", stats);
  const int64_t batch = stats.shape[0], dim = stats.shape[1] / 2;
  check_row_weight("reparam_kl", kl_weight, batch);
  const Tensor z = tape.new_value({batch, dim}, stats.dtype);
  const Tensor kl = tape.new_buffer({batch}, stats.dtype);
  tape.op("reparam_kl", {stats}, {z, kl}, [&](const Exec& exec) {
    with_element_type("reparam_kl", stats, [&]<class T>(T) {
      const Halves<T> in(stats);
      ReparamKlForward<T> args{};
      args.mu = in.mu;
      args.logvar = in.logvar;
      args.row_stride = in.stride;
      args.z = z.as<T>();
      args.kl = kl.as<T>();
      args.batch = batch;
      args.dim = dim;
      args.noise = noise;
      reparam_kl_forward(exec, args);
    });
  });
  tape.record("reparam_kl", {stats}, [=](Tape& t) {
    const std::optional<Tensor> dz = t.upstream(z);
    const GradSlot slot = dz || kl_weight.given() ? t.grad_slot(stats) : GradSlot{};
    if (!slot) return;
    const Tensor upstream = dz.value_or(Tensor{});
    t.op("reparam_kl_backward", {stats, upstream, kl_weight.values, slot.dx}, {slot.dx},
         [&](const Exec& exec) {
           with_element_type("reparam_kl", stats, [&]<class T>(T) {
             const Halves<T> in(stats), out(slot.dx);
             ReparamKlBackward<T> args{};
             args.mu = in.mu;
             args.logvar = in.logvar;
             args.row_stride = in.stride;
             args.dz = dz ? dz->as<T>() : nullptr;
             args.dkl = kl_weight.as<T>(batch);
             args.dmu = out.mu;
             args.dlogvar = out.logvar;
             args.grad_row_stride = out.stride;
             args.mode = slot.mode;
             args.batch = batch;
             args.dim = dim;
             args.noise = noise;
             reparam_kl_backward(exec, args);
           });
         });
  });
  return {z, kl};
}

Tensor posterior_mean(Tape& tape, const Tensor& stats) {
  check_stats("posterior_mean", stats);
  return slice_cols(tape, stats, 0, stats.shape[1] / 2);
}

}  // namespace elbo
