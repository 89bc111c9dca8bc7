#include "engine/ops/density_op.h"

#include "engine/ops/basis_op.h"

namespace elbo {
namespace {

void check_latents(const char* op, const Tensor& z, const Tensor& stats) {
  ELBO_CHECK(z.shape.rank() == 2 && stats.shape.rank() == 2 && stats.shape[1] == 2 * z.shape[1] &&
                 stats.dtype == z.dtype,
             op, ": z is ", z.shape.to_string(), ", stats ", stats.shape.to_string(),
             "; expected [B, D] and [K, 2D]");
}

// stats may be no tensor: N(0, I).
template <class T>
GaussianDensity<T> arguments(const Tensor& z, const Tensor& stats) {
  GaussianDensity<T> args;
  args.z = z.as<T>();
  args.batch = z.shape[0];
  args.dim = z.shape[1];
  if (stats.shape.rank() == 0) return args;
  args.mu = stats.as<T>();
  args.logvar = args.mu + args.dim;
  args.stride = 2 * args.dim;
  return args;
}

template <class T>
GaussianDensityGradient<T> gradient(const Tensor& upstream, const GradSlot& z,
                                    const GradSlot& stats) {
  GaussianDensityGradient<T> args;
  args.upstream = upstream.as<T>();
  if (z) {
    args.dz = z.dx.as<T>();
    args.z_mode = z.mode;
  }
  if (stats) {
    args.stride = stats.dx.shape[1];
    args.dmu = stats.dx.as<T>();
    args.dlogvar = args.dmu + args.stride / 2;
    args.stats_mode = stats.mode;
  }
  return args;
}

// Where the gradients of a density go; neither, if nobody asks for them.
struct DensitySlots {
  GradSlot z, stats;

  DensitySlots(Tape& tape, const Tensor& z_value, const Tensor& stats_value)
      : z(tape.grad_slot(z_value)),
        stats(stats_value.shape.rank() > 0 ? tape.grad_slot(stats_value) : GradSlot{}) {}
  explicit operator bool() const { return z || stats; }
};

Tensor density(Tape& tape, const char* op, const Tensor& z, const Tensor& stats) {
  const Tensor y = tape.new_value({z.shape[0]}, z.dtype);
  tape.op(op, {z, stats}, {y}, [&](const Exec& exec) {
    with_element_type(op, z, [&]<class T>(T) {
      gaussian_density_forward(exec, arguments<T>(z, stats), y.as<T>());
    });
  });
  tape.record(op, {z, stats}, [op, z, stats, y](Tape& t) {
    const std::optional<Tensor> dy = t.upstream(y);
    if (!dy) return;
    const DensitySlots slots(t, z, stats);
    if (!slots) return;
    t.op("log_density_backward", {z, stats, *dy, slots.z.dx, slots.stats.dx},
         {slots.z.dx, slots.stats.dx}, [&](const Exec& exec) {
           with_element_type(op, z, [&]<class T>(T) {
             gaussian_density_backward(exec, arguments<T>(z, stats),
                                       gradient<T>(*dy, slots.z, slots.stats));
           });
         });
  });
  return y;
}

template <class T>
PairwiseDensity<T> pair_arguments(const Tensor& z, const Tensor& stats, Pairing pairing,
                                  const PairWeights& weights) {
  PairwiseDensity<T> args;
  args.rows = arguments<T>(z, stats);
  args.components = stats.shape[0];
  args.per_dimension = pairing == Pairing::per_dimension;
  args.weights = weights;
  return args;
}

}  // namespace

Tensor log_density(Tape& tape, const Tensor& z, const Tensor& stats) {
  check_latents("log_density", z, stats);
  ELBO_CHECK(z.shape[0] == stats.shape[0], "log_density: z has ", z.shape[0], " rows, stats ",
             stats.shape[0]);
  return density(tape, "log_density", z, stats);
}

Tensor prior_log_density(Tape& tape, const Tensor& z) {
  ELBO_CHECK(z.shape.rank() == 2, "prior_log_density: expected a matrix, got ",
             z.shape.to_string());
  return density(tape, "prior_log_density", z, Tensor{});
}

Tensor pairwise_log_density(Tape& tape, const Tensor& z, const Tensor& stats, Pairing pairing,
                            const PairWeights& weights) {
  constexpr const char* kOp = "pairwise_log_density";
  check_latents(kOp, z, stats);
  const int64_t rows = pairing == Pairing::joint ? z.shape[0] : z.size();
  const Tensor s = tape.new_value({rows, stats.shape[0]}, z.dtype);
  tape.op(kOp, {z, stats}, {s}, [&](const Exec& exec) {
    with_element_type(kOp, z, [&]<class T>(T) {
      pairwise_density_forward(exec, pair_arguments<T>(z, stats, pairing, weights), s.as<T>());
    });
  });
  tape.record(kOp, {z, stats}, [z, stats, s, pairing, weights](Tape& t) {
    const std::optional<Tensor> ds = t.upstream(s);
    if (!ds) return;
    const DensitySlots slots(t, z, stats);
    if (!slots) return;
    t.op("pairwise_log_density_backward", {z, stats, *ds, slots.z.dx, slots.stats.dx},
         {slots.z.dx, slots.stats.dx}, [&](const Exec& exec) {
           with_element_type(kOp, z, [&]<class T>(T) {
             pairwise_density_backward(exec, pair_arguments<T>(z, stats, pairing, weights),
                                       gradient<T>(*ds, slots.z, slots.stats));
           });
         });
  });
  return s;
}

Tensor mixture_log_density(Tape& tape, const Tensor& z, const Tensor& stats,
                           const PairWeights& weights) {
  return logsumexp_rows(tape, pairwise_log_density(tape, z, stats, Pairing::joint, weights));
}

}  // namespace elbo
