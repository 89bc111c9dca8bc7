#include "kernels/batch_norm.h"

#include "kernels/error.h"
#include "kernels/launch_cells.h"
#include "kernels/norm_passes.h"
#include "kernels/norm_stats.h"

namespace elbo {
namespace {

template <class T>
struct BatchNormStatistics : Moments<T> {
  using R = Compute<T>;
  BatchNormForward<T> args;

  ELBO_HD void finish(int64_t, int64_t channel, const ChannelPair<R>& pair) const {
    const R rows = static_cast<R>(args.rows);
    const R mean = to_float(args.x[channel]) + pair.first, var = pair.second / rows;
    args.mean[channel] = mean;
    args.rstd[channel] = reciprocal_deviation(var, args.epsilon);
    if (args.running_mean) {
      const R keep = R(1) - args.momentum, unbiased = pair.second / (rows - R(1));
      R& running_mean = args.running_mean[channel];
      R& running_var = args.running_var[channel];
      running_mean = args.momentum * mean + keep * running_mean;
      running_var = args.momentum * unbiased + keep * running_var;
    }
    if (args.batches && channel == 0) ++*args.batches;
  }
};

template <class R>
struct RunningStatistics {
  const R *running_mean, *running_var;
  R *mean, *rstd;
  R epsilon;

  ELBO_HD void operator()(int64_t, int64_t channel) const {
    mean[channel] = running_mean[channel];
    rstd[channel] = reciprocal_deviation(running_var[channel], epsilon);
  }
};

}  // namespace

template <class T>
void batch_norm_forward(const Exec& exec, const BatchNormForward<T>& args) {
  if (args.rows <= 0 || args.channels <= 0) return;
  ELBO_CHECK(args.x && args.gamma && args.beta && args.y && args.mean && args.rstd,
             "batch_norm_forward: null operand");
  ELBO_CHECK(
      !args.running_mean == !args.running_var && (args.training || args.running_mean),
      "batch_norm_forward: running_mean and running_var go together, and outside of training "
      "they are needed");
  if (args.training) {
    ELBO_CHECK(args.rows > 1,
               "batch_norm: training needs more than one value per channel and has 1; use a larger "
               "batch, or running statistics");
    const ChannelLayout at{1, args.rows, args.channels};
    channel_reduce(exec, at, BatchNormStatistics<T>{{args.x, at}, args}, PointerPack{args.x});
  } else {
    for_each_cell<T>(exec, 1, args.channels,
                     RunningStatistics<Compute<T>>{args.running_mean, args.running_var, args.mean,
                                                   args.rstd, args.epsilon});
  }
  norm_forward(exec, NormPass<T>{.segments = 1,
                                 .rows = args.rows,
                                 .channels = args.channels,
                                 .activation = args.activation,
                                 .x = args.x,
                                 .mean = args.mean,
                                 .rstd = args.rstd,
                                 .gamma = args.gamma,
                                 .beta = args.beta,
                                 .y = args.y});
}

template <class T>
void batch_norm_backward(const Exec& exec, const BatchNormBackward<T>& args) {
  using R = Compute<T>;
  if (args.channels <= 0) return;
  ELBO_CHECK(
      args.rows == 0 || (args.x && args.dy && args.gamma && args.beta && args.mean && args.rstd),
      "batch_norm_backward: null operand");
  const bool centred = args.training && args.dx;  // dx depends on the sums
  ELBO_CHECK(!centred || args.sums, "batch_norm_backward: dx in training needs sums");
  NormPass<T> pass{.segments = 1,
                   .rows = args.rows,
                   .channels = args.channels,
                   .activation = args.activation,
                   .x = args.x,
                   .mean = args.mean,
                   .rstd = args.rstd,
                   .gamma = args.gamma,
                   .beta = args.beta,
                   .dy = args.dy,
                   .dx = args.dx,
                   .mode = args.mode};
  if (centred) {
    pass.mean_dz = args.sums;
    pass.mean_dz_xhat = args.sums + args.channels;
  }
  if (centred || args.dgamma || args.dbeta) {
    const NormSums<R> sums{.dz = centred ? args.sums : nullptr,
                           .dz_xhat = centred ? args.sums + args.channels : nullptr,
                           .as_means = true,
                           .dgamma = args.dgamma,
                           .dbeta = args.dbeta,
                           .dgamma_mode = args.dgamma_mode,
                           .dbeta_mode = args.dbeta_mode};
    norm_backward_sums(exec, pass, sums);
  }
  if (args.dx) norm_backward_data(exec, pass);
}

#define ELBO_INSTANTIATE(T)                                                  \
  template void batch_norm_forward(const Exec&, const BatchNormForward<T>&); \
  template void batch_norm_backward(const Exec&, const BatchNormBackward<T>&);
ELBO_INSTANTIATE(float)
ELBO_INSTANTIATE(bf16)
ELBO_INSTANTIATE(double)
#undef ELBO_INSTANTIATE

}  // namespace elbo
