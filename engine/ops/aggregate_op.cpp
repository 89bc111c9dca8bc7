#include "engine/ops/aggregate_op.h"

#include "kernels/latent_moments.h"
#include "kernels/mmd.h"

namespace elbo {
namespace {

void check_stats(const char* op, const Tensor& stats) {
  ELBO_CHECK(stats.shape.rank() == 2 && stats.shape[1] % 2 == 0, op, ": expected [B, 2D], got ",
             stats.shape.to_string());
}

template <class T>
LatentStats<T> arguments(const Tensor& stats, bool with_variance) {
  LatentStats<T> args;
  args.batch = stats.shape[0];
  args.stride = stats.shape[1];
  args.dim = args.stride / 2;
  args.mu = stats.as<T>();
  args.logvar = with_variance ? args.mu + args.dim : nullptr;
  return args;
}

template <class T>
LatentStatsGradient<T> gradient(const Tensor& upstream, const GradSlot& slot) {
  LatentStatsGradient<T> args;
  args.upstream = upstream.as<T>();
  args.stride = slot.dx.shape[1];
  args.dmu = slot.dx.as<T>();
  args.dlogvar = args.dmu + args.stride / 2;
  args.mode = slot.mode;
  return args;
}

}  // namespace

Tensor mean_kl(Tape& tape, const Tensor& stats) {
  check_stats("mean_kl", stats);
  const Tensor y = tape.new_value({stats.shape[1] / 2}, stats.dtype);
  tape.op("mean_kl", {stats}, {y}, [&](const Exec& exec) {
    with_element_type("mean_kl", stats, [&]<class T>(T) {
      mean_kl_forward(exec, arguments<T>(stats, true), y.as<T>());
    });
  });
  tape.record("mean_kl", {stats}, [stats, y](Tape& t) {
    const std::optional<Tensor> dy = t.upstream(y);
    const GradSlot slot = dy ? t.grad_slot(stats) : GradSlot{};
    if (!slot) return;
    t.op("mean_kl_backward", {stats, *dy, slot.dx}, {slot.dx}, [&](const Exec& exec) {
      with_element_type("mean_kl", stats, [&]<class T>(T) {
        mean_kl_backward(exec, arguments<T>(stats, true), gradient<T>(*dy, slot));
      });
    });
  });
  return y;
}

Tensor covariance(Tape& tape, const Tensor& stats, Spread spread) {
  check_stats("covariance", stats);
  const int64_t dim = stats.shape[1] / 2;
  const bool with_variance = spread == Spread::samples;
  const Tensor mean = tape.new_buffer({dim}, stats.dtype);
  const Tensor c = tape.new_value({dim, dim}, stats.dtype);
  tape.op("covariance", {stats}, {mean, c}, [&](const Exec& exec) {
    with_element_type("covariance", stats, [&]<class T>(T) {
      covariance_forward(exec, arguments<T>(stats, with_variance), mean.as<T>(), c.as<T>());
    });
  });
  tape.record("covariance", {stats}, [stats, mean, c, with_variance](Tape& t) {
    const std::optional<Tensor> dc = t.upstream(c);
    const GradSlot slot = dc ? t.grad_slot(stats) : GradSlot{};
    if (!slot) return;
    t.op("covariance_backward", {stats, mean, *dc, slot.dx}, {slot.dx}, [&](const Exec& exec) {
      with_element_type("covariance", stats, [&]<class T>(T) {
        covariance_backward(exec, arguments<T>(stats, with_variance),
                            static_cast<const T*>(mean.as<T>()), gradient<T>(*dc, slot));
      });
    });
  });
  return c;
}

Tensor dip_penalty(Tape& tape, const Tensor& covariance, const DipWeights& weights) {
  const Tensor& c = covariance;
  ELBO_CHECK(c.shape.rank() == 2 && c.shape[0] == c.shape[1],
             "dip_penalty: expected a square matrix, got ", c.shape.to_string());
  const int64_t dim = c.shape[0];
  const Tensor y = tape.new_value({1}, c.dtype);
  tape.op("dip_penalty", {c}, {y}, [&](const Exec& exec) {
    with_element_type("dip_penalty", c, [&]<class T>(T) {
      dip_penalty_forward(exec, dim, static_cast<const T*>(c.as<T>()), weights, y.as<T>());
    });
  });
  tape.record("dip_penalty", {c}, [c, y, weights, dim](Tape& t) {
    const std::optional<Tensor> dy = t.upstream(y);
    const GradSlot slot = dy ? t.grad_slot(c) : GradSlot{};
    if (!slot) return;
    t.op("dip_penalty_backward", {c, *dy, slot.dx}, {slot.dx}, [&](const Exec& exec) {
      with_element_type("dip_penalty", c, [&]<class T>(T) {
        dip_penalty_backward(exec, dim, static_cast<const T*>(c.as<T>()), weights,
                             static_cast<const T*>(dy->as<T>()), slot.dx.as<T>(), slot.mode);
      });
    });
  });
  return y;
}

Tensor mmd(Tape& tape, const Tensor& z, const Tensor& draws) {
  ELBO_CHECK(z.shape.rank() == 2 && z.shape == draws.shape && z.dtype == draws.dtype, "mmd: z is ",
             z.shape.to_string(), ", draws ", draws.shape.to_string(), "; both must be [B, D]");
  const int64_t batch = z.shape[0], dim = z.shape[1];
  const Tensor parts = tape.new_buffer({batch}, z.dtype);
  const Tensor y = tape.new_value({1}, z.dtype);
  tape.op("mmd", {z, draws}, {parts, y}, [&](const Exec& exec) {
    with_element_type("mmd", z, [&]<class T>(T) {
      mmd_forward(exec, batch, dim, static_cast<const T*>(z.as<T>()),
                  static_cast<const T*>(draws.as<T>()), parts.as<T>(), y.as<T>());
    });
  });
  tape.record("mmd", {z}, [z, draws, y, batch, dim](Tape& t) {
    const std::optional<Tensor> dy = t.upstream(y);
    const GradSlot slot = dy ? t.grad_slot(z) : GradSlot{};
    if (!slot) return;
    t.op("mmd_backward", {z, draws, *dy, slot.dx}, {slot.dx}, [&](const Exec& exec) {
      with_element_type("mmd", z, [&]<class T>(T) {
        mmd_backward(exec, batch, dim, static_cast<const T*>(z.as<T>()),
                     static_cast<const T*>(draws.as<T>()), static_cast<const T*>(dy->as<T>()),
                     slot.dx.as<T>(), slot.mode);
      });
    });
  });
  return y;
}

}  // namespace elbo
