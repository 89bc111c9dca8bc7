#include "engine/ops/latent_op.h"

#include "engine/ops/basis_op.h"
#include "engine/ops/linear_op.h"
#include "kernels/latent_head.h"
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

LatentSample new_sample(Tape& tape, const char* op, const Tensor& stats,
                        const RowWeight& kl_weight) {
  check_stats(op, stats);
  const int64_t batch = stats.shape[0], dim = stats.shape[1] / 2;
  check_row_weight(op, kl_weight, batch);
  return {tape.new_value({batch, dim}, stats.dtype), tape.new_buffer({batch}, stats.dtype)};
}

void record_reparam_kl(Tape& tape, const Tensor& stats, const Tensor& z, const NoiseSource& noise,
                       const RowWeight& kl_weight) {
  const int64_t batch = stats.shape[0], dim = stats.shape[1] / 2;
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
}

}  // namespace

LatentSample reparam_kl(Tape& tape, const Tensor& stats, const NoiseSource& noise,
                        const RowWeight& kl_weight) {
  const LatentSample sample = new_sample(tape, "reparam_kl", stats, kl_weight);
  const Tensor z = sample.z, kl = sample.kl;
  tape.op("reparam_kl", {stats}, {z, kl}, [&](const Exec& exec) {
    with_element_type("reparam_kl", stats, [&]<class T>(T) {
      const Halves<T> in(stats);
      ReparamKlForward<T> args{};
      args.mu = in.mu;
      args.logvar = in.logvar;
      args.row_stride = in.stride;
      args.z = z.as<T>();
      args.kl = kl.as<T>();
      args.batch = z.shape[0];
      args.dim = z.shape[1];
      args.noise = noise;
      reparam_kl_forward(exec, args);
    });
  });
  record_reparam_kl(tape, stats, z, noise, kl_weight);
  return sample;
}

LatentSample latent_head(Tape& tape, ParamStore& params, const Tensor& x, ParamStore::Id weight,
                         ParamStore::Id bias, const NoiseSource& noise,
                         const RowWeight& kl_weight) {
  const Tensor stats = record_linear(tape, params, x, weight, &bias);
  const LatentSample sample = new_sample(tape, "latent_head", stats, kl_weight);
  const Tensor z = sample.z, kl = sample.kl;
  tape.op("latent_head", {x}, {stats, z, kl}, [&](const Exec& exec) {
    with_element_type("latent_head", x, [&]<class T>(T) {
      LatentHeadForward<T> args{};
      args.x = x.as<T>();
      args.weight = params.param(weight).value.as<T>();
      args.bias = params.param(bias).value.as<T>();
      args.stats = stats.as<T>();
      args.z = z.as<T>();
      args.kl = kl.as<T>();
      args.batch = z.shape[0];
      args.in = x.shape[1];
      args.dim = z.shape[1];
      args.noise = noise;
      latent_head_forward(exec, args);
    });
  });
  record_reparam_kl(tape, stats, z, noise, kl_weight);
  return sample;
}

Tensor posterior_mean(Tape& tape, const Tensor& stats) {
  check_stats("posterior_mean", stats);
  return slice_cols(tape, stats, 0, stats.shape[1] / 2);
}

}  // namespace elbo
