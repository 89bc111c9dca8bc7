#include "engine/ops/latent_op.h"

#include "engine/ops/basis_op.h"
#include "engine/ops/linear_op.h"
#include "kernels/latent_block.h"
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

LatentSample new_sample(Tape& tape, const char* op, const Tensor& stats, DType z_type,
                        const RowWeight& kl_weight) {
  check_stats(op, stats);
  const int64_t batch = stats.shape[0], dim = stats.shape[1] / 2;
  check_row_weight(op, kl_weight, batch);
  return {tape.new_value({batch, dim}, z_type), tape.new_buffer({batch}, stats.dtype)};
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

// What latent_block()'s backward needs to know. The decoder's x is z.
struct BlockCall {
  const char* heads_label;
  const char* decoder_label;
  LinearCall heads, decoder;
  NoiseSource noise;
  RowWeight kl_weight;
};

LatentBlock layer_by_layer(Tape& tape, ParamStore& params, const Tensor& x,
                           const LayerParams& heads, const NoiseSource& noise,
                           const RowWeight& kl_weight, const LayerParams& decoder) {
  const auto sample_of = [&] {
    const Tape::Scope scope(tape, heads.label);
    const Tensor stats = linear(tape, params, x, heads.weight, &heads.bias, Activation::identity);
    return reparam_kl(tape, stats, noise, kl_weight);
  };
  const LatentSample latent = sample_of();
  const Tape::Scope scope(tape, decoder.label);
  return {latent,
          linear(tape, params, latent.z, decoder.weight, &decoder.bias, decoder.activation)};
}

void block_forward(Tape& tape, const BlockCall& call, const LatentSample& latent) {
  const LinearCall &heads = call.heads, &decoder = call.decoder;
  const auto launch = [&](const Exec& exec) {
    with_storage_type("latent_block", heads.x, [&]<class T>(T) {
      LatentBlockForward<T> args{};
      args.x = heads.x.as<T>();
      args.weight = weight_values<T>(heads.weight);
      args.bias = heads.bias.value.as<Compute<T>>();
      args.stats = heads.y.as<Compute<T>>();
      args.z = latent.z.as<T>();
      args.kl = latent.kl.as<Compute<T>>();
      args.decoder_weight = weight_values<T>(decoder.weight);
      args.decoder_bias = decoder.bias.value.as<Compute<T>>();
      args.y = decoder.y.as<T>();
      args.aux = decoder.aux.data;
      args.batch = heads.batch;
      args.in = heads.in;
      args.dim = decoder.in;
      args.hidden = decoder.out;
      args.activation = decoder.activation;
      args.noise = call.noise;
      latent_block_forward(exec, args);
    });
  };
  tape.op("latent_block", {heads.x}, {heads.y, latent.z, latent.kl, decoder.y, decoder.aux},
          launch);
}

// dz, dstats and dx. Without dy the decoder layer has no columns, and dz is what others sent.
void block_backward_data(Tape& tape, const BlockCall& call, const std::optional<Tensor>& dy,
                         const Tensor& dstats) {
  const LinearCall &heads = call.heads, &decoder = call.decoder;
  const Epilogue* producer = tape.take_epilogue(heads.x);
  const GradSlot dz = tape.grad_slot(decoder.x), dx = tape.grad_slot(heads.x);
  const Tensor aux = producer ? producer->aux : Tensor{}, upstream = dy.value_or(Tensor{});
  const auto launch = [&](const Exec& exec) {
    with_storage_type("latent_block", heads.x, [&]<class T>(T) {
      LatentBlockBackward<T> args{};
      args.dy = dy ? dy->as<T>() : nullptr;
      args.decoder_weight = weight_values<T>(decoder.weight);
      args.stats = heads.y.as<Compute<T>>();
      args.dkl = call.kl_weight.as<Compute<T>>(heads.batch);
      args.dz = dz.dx.as<T>();
      args.dz_mode = dz.mode;
      args.dstats = dstats.as<T>();
      args.weight = weight_values<T>(heads.weight);
      args.dx = dx ? dx.dx.as<T>() : nullptr;
      args.dx_mode = dx.mode;
      args.x_activation = producer ? producer->activation : Activation::identity;
      args.x = heads.x.as<T>();
      args.x_aux = aux.data;
      args.batch = heads.batch;
      args.in = heads.in;
      args.dim = decoder.in;
      args.hidden = dy ? decoder.out : 0;
      args.noise = call.noise;
      latent_block_backward(exec, args);
    });
  };
  tape.op("latent_block_backward",
          {upstream, heads.y, call.kl_weight.values, heads.x, aux, dz.dx, dx.dx},
          {dz.dx, dstats, dx.dx}, launch);
}

void block_backward(Tape& tape, const BlockCall& call) {
  const std::optional<Tensor> dy = tape.upstream(call.decoder.y);
  if (!dy && !tape.upstream(call.decoder.x) && !call.kl_weight.given()) return;
  if (dy) {
    const Tape::Scope scope(tape, call.decoder_label);
    linear_backward_params(tape, call.decoder, *dy);
  }
  const Tensor dstats = tape.new_buffer(call.heads.y.shape, call.heads.x.dtype);
  block_backward_data(tape, call, dy, dstats);
  const Tape::Scope scope(tape, call.heads_label);
  linear_backward_params(tape, call.heads, dstats);
}

}  // namespace

LatentSample reparam_kl(Tape& tape, const Tensor& stats, const NoiseSource& noise,
                        const RowWeight& kl_weight) {
  const LatentSample sample = new_sample(tape, "reparam_kl", stats, stats.dtype, kl_weight);
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

LatentBlock latent_block(Tape& tape, ParamStore& params, const Tensor& x, const LayerParams& heads,
                         const NoiseSource& noise, const RowWeight& kl_weight,
                         const LayerParams& decoder) {
  if (tape.device() == Device::cpu) {
    return layer_by_layer(tape, params, x, heads, noise, kl_weight, decoder);
  }
  BlockCall call{};
  call.heads_label = heads.label;
  call.decoder_label = decoder.label;
  const DType stats_type = x.dtype == DType::bf16 ? DType::f32 : x.dtype;
  call.heads =
      new_linear_call(tape, params, x, heads.weight, &heads.bias, Activation::identity, stats_type);
  const LatentSample latent = new_sample(tape, "latent_block", call.heads.y, x.dtype, kl_weight);
  call.decoder =
      new_linear_call(tape, params, latent.z, decoder.weight, &decoder.bias, decoder.activation);
  call.noise = noise;
  call.kl_weight = kl_weight;
  block_forward(tape, call, latent);
  tape.record("latent_block", {x}, [call](Tape& t) { block_backward(t, call); });
  return {latent, call.decoder.y};
}

Tensor prior_sample(Tape& tape, int64_t batch, int64_t dim, DType dtype, const NoiseSource& noise) {
  const Tensor z = tape.new_buffer({batch, dim}, dtype);
  tape.op("prior_sample", {}, {z}, [&](const Exec& exec) {
    with_element_type("prior_sample", z,
                      [&]<class T>(T) { gaussian_noise(exec, z.as<T>(), batch, dim, noise); });
  });
  return z;
}

Tensor posterior_mean(Tape& tape, const Tensor& stats) {
  check_stats("posterior_mean", stats);
  return slice_cols(tape, stats, 0, stats.shape[1] / 2);
}

}  // namespace elbo
