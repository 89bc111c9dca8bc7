#include "kernels/group_norm.h"

#include "kernels/error.h"
#include "kernels/launch_cells.h"
#include "kernels/norm_passes.h"
#include "kernels/norm_stats.h"

namespace elbo {
namespace {

// Statistics of every channel by itself, left where those of its group go.
template <class T>
struct ChannelStatistics : Moments<T> {
  using R = Compute<T>;
  R *mean, *squares;

  ELBO_HD void finish(int64_t sample, int64_t channel, const ChannelPair<R>& pair) const {
    const int64_t i = sample * this->at.channels + channel;
    mean[i] = this->channel(sample, channel).shift + pair.first;
    squares[i] = pair.second;
  }
};

// One group of one sample. All channels have as many rows, so means are averaged, from the first one
// on, and squares move from their channel's mean to the group's.
template <class R>
struct JoinGroup {
  int64_t rows, channels, group_size;
  R *mean, *rstd;  // rstd holds the squares before
  R epsilon;

  ELBO_HD void operator()(int64_t sample, int64_t group) const {
    const int64_t first = sample * channels + group * group_size;
    const R n = static_cast<R>(group_size), origin = mean[first];
    R sum = 0, squares = 0;
    for (int64_t i = 0; i < group_size; ++i) sum += mean[first + i] - origin;
    const R joint = origin + sum / n;
    for (int64_t i = 0; i < group_size; ++i) {
      const R off = mean[first + i] - joint;
      squares += math::fma(off * off, static_cast<R>(rows), rstd[first + i]);
    }
    const R scale = reciprocal_deviation(squares / (n * static_cast<R>(rows)), epsilon);
    for (int64_t i = 0; i < group_size; ++i) {
      mean[first + i] = joint;
      rstd[first + i] = scale;
    }
  }
};

// dgamma and dbeta of one channel from its sums in every sample, in order.
template <class R>
struct SumSamples {
  int64_t batch, channels;
  const R *dz, *dz_xhat;
  R *dgamma, *dbeta;
  GradMode dgamma_mode, dbeta_mode;

  ELBO_HD void operator()(int64_t, int64_t channel) const {
    R gamma_sum = 0, beta_sum = 0;
    for (int64_t i = channel; i < batch * channels; i += channels) {
      gamma_sum += dz_xhat[i];
      beta_sum += dz[i];
    }
    if (dgamma)
      dgamma[channel] = dgamma_mode == GradMode::add ? dgamma[channel] + gamma_sum : gamma_sum;
    if (dbeta) dbeta[channel] = dbeta_mode == GradMode::add ? dbeta[channel] + beta_sum : beta_sum;
  }
};

// The sums of a sample's channels become the means over their group that NormPass wants.
template <class R>
struct MeanOverGroup {
  int64_t rows, channels, group_size;
  const R* gamma;
  R *dz, *dz_xhat;

  ELBO_HD void operator()(int64_t sample, int64_t group) const {
    const int64_t first = group * group_size, base = sample * channels;
    R sum = 0, sum_xhat = 0;
    for (int64_t c = first; c < first + group_size; ++c) {
      sum = math::fma(gamma[c], dz[base + c], sum);
      sum_xhat = math::fma(gamma[c], dz_xhat[base + c], sum_xhat);
    }
    const R n = static_cast<R>(group_size) * static_cast<R>(rows);
    for (int64_t c = first; c < first + group_size; ++c) {
      dz[base + c] = sum / n;
      dz_xhat[base + c] = sum_xhat / n;
    }
  }
};

void check_groups(const char* op, int64_t channels, int64_t groups) {
  ELBO_CHECK(groups > 0 && channels % groups == 0, op, ": ", channels,
             " channels do not divide into ", groups, " groups; choose a divisor");
}

}  // namespace

template <class T>
void group_norm_forward(const Exec& exec, const GroupNormForward<T>& args) {
  using R = Compute<T>;
  check_groups("group_norm", args.channels, args.groups);
  if (args.batch <= 0 || args.rows <= 0 || args.channels <= 0) return;
  ELBO_CHECK(args.x && args.gamma && args.beta && args.y && args.mean && args.rstd,
             "group_norm_forward: null operand");
  const ChannelLayout at{args.batch, args.rows, args.channels};
  channel_reduce(exec, at, ChannelStatistics<T>{{args.x, at}, args.mean, args.rstd},
                 PointerPack{args.x});
  for_each_cell<T>(exec, args.batch, args.groups,
                   JoinGroup<R>{args.rows, args.channels, args.channels / args.groups, args.mean,
                                args.rstd, args.epsilon});
  norm_forward(exec, NormPass<T>{.segments = args.batch,
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
void group_norm_backward(const Exec& exec, const GroupNormBackward<T>& args) {
  using R = Compute<T>;
  check_groups("group_norm", args.channels, args.groups);
  if (args.channels <= 0) return;
  const bool empty = args.batch <= 0 || args.rows <= 0;
  ELBO_CHECK(empty || (args.x && args.dy && args.gamma && args.beta && args.mean && args.rstd &&
                       args.sums),
             "group_norm_backward: null operand");
  const int64_t count = args.batch * args.channels;
  NormPass<T> pass{.segments = args.batch,
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
                   .mode = args.mode,
                   .mean_dz = args.sums,
                   .mean_dz_xhat = args.sums + count};
  R *dz = args.sums, *dz_xhat = args.sums + count;
  if (!empty) norm_backward_sums(exec, pass, NormSums<R>{.dz = dz, .dz_xhat = dz_xhat});
  if (args.dgamma || args.dbeta) {
    for_each_cell<T>(exec, 1, args.channels,
                     SumSamples<R>{empty ? 0 : args.batch, args.channels, dz, dz_xhat, args.dgamma,
                                   args.dbeta, args.dgamma_mode, args.dbeta_mode});
  }
  if (empty || !args.dx) return;
  for_each_cell<T>(exec, args.batch, args.groups,
                   MeanOverGroup<R>{args.rows, args.channels, args.channels / args.groups,
                                    args.gamma, dz, dz_xhat});
  norm_backward_data(exec, pass);
}

#define ELBO_INSTANTIATE(T)                                                  \
  template void group_norm_forward(const Exec&, const GroupNormForward<T>&); \
  template void group_norm_backward(const Exec&, const GroupNormBackward<T>&);
ELBO_INSTANTIATE(float)
ELBO_INSTANTIATE(bf16)
ELBO_INSTANTIATE(double)
#undef ELBO_INSTANTIATE

}  // namespace elbo
