#include "kernels/norm_passes.h"

#include "kernels/channel_passes.h"

namespace elbo {
namespace {

template <class R>
struct NormChannel {
  R mean, rstd, gamma, beta;

  ELBO_HD R xhat(R x) const { return (x - mean) * rstd; }
  ELBO_HD R z(R x) const { return math::fma(gamma, xhat(x), beta); }
};

template <class T>
ELBO_HD NormChannel<Compute<T>> channel_of(const NormPass<T>& a, int64_t segment, int64_t channel) {
  const int64_t i = segment * a.channels + channel;
  return {a.mean[i], a.rstd[i], a.gamma[channel], a.beta[channel]};
}

// The gradient at z, from what the activation's derivative is a function of.
template <Activation A, class R>
ELBO_HD R gradient_at_z(const NormChannel<R>& k, R x, R dy) {
  const R z = k.z(x);
  if constexpr (needs_pre_activation(A)) {
    return activate_backward<A>(z, dy);
  } else {
    return activate_backward<A>(activate<A>(z), dy);
  }
}

template <Activation A, class T>
struct NormForward {
  using R = Compute<T>;
  using Channel = NormChannel<R>;
  NormPass<T> args;

  ELBO_HD Channel channel(int64_t segment, int64_t channel) const {
    return channel_of(args, segment, channel);
  }
  ELBO_HD void operator()(const Channel& k, const R* x, R* y) const {
    y[0] = activate<A>(k.z(x[0]));
  }
};

// in: x, dy
template <Activation A, class T>
struct NormBackwardSums {
  using R = Compute<T>;
  using Channel = NormChannel<R>;
  NormPass<T> args;
  NormSums<R> sums;

  ELBO_HD Channel channel(int64_t segment, int64_t channel) const {
    return channel_of(args, segment, channel);
  }
  ELBO_HD void operator()(const Channel& k, const R* in, R, ChannelPair<R>& pair) const {
    const R dz = gradient_at_z<A>(k, in[0], in[1]);
    pair.first += dz;
    pair.second = math::fma(dz, k.xhat(in[0]), pair.second);
  }
  ELBO_HD static void combine(ChannelPair<R>& to, R, const ChannelPair<R>& from, R) {
    to.first += from.first;
    to.second += from.second;
  }
  ELBO_HD void finish(int64_t segment, int64_t channel, const ChannelPair<R>& pair) const {
    const int64_t i = segment * args.channels + channel;
    const R factor =
        sums.as_means && args.rows > 0 ? args.gamma[channel] / static_cast<R>(args.rows) : R(1);
    if (sums.dz) sums.dz[i] = factor * pair.first;
    if (sums.dz_xhat) sums.dz_xhat[i] = factor * pair.second;
    if (sums.dbeta) {
      R& out = sums.dbeta[channel];
      out = sums.dbeta_mode == GradMode::add ? out + pair.first : pair.first;
    }
    if (sums.dgamma) {
      R& out = sums.dgamma[channel];
      out = sums.dgamma_mode == GradMode::add ? out + pair.second : pair.second;
    }
  }
};

template <class R>
struct NormDataChannel {
  NormChannel<R> norm;
  R mean_dz, mean_dz_xhat;
};

// in: x, dy, and dx if adding
template <Activation A, class T, bool Add>
struct NormBackwardData {
  using R = Compute<T>;
  using Channel = NormDataChannel<R>;
  NormPass<T> args;

  ELBO_HD Channel channel(int64_t segment, int64_t channel) const {
    const int64_t i = segment * args.channels + channel;
    return {channel_of(args, segment, channel), args.mean_dz ? args.mean_dz[i] : R(0),
            args.mean_dz ? args.mean_dz_xhat[i] : R(0)};
  }
  ELBO_HD void operator()(const Channel& k, const R* in, R* dx) const {
    const R dz = gradient_at_z<A>(k.norm, in[0], in[1]);
    const R rest = math::fma(k.norm.xhat(in[0]), k.mean_dz_xhat, k.mean_dz);
    dx[0] = k.norm.rstd * math::fma(k.norm.gamma, dz, -rest);
    if constexpr (Add) dx[0] += in[2];
  }
};

template <class T>
ChannelLayout layout_of(const NormPass<T>& a) {
  return {a.segments, a.rows, a.channels};
}

}  // namespace

template <class T>
void norm_forward(const Exec& exec, const NormPass<T>& args) {
  dispatch_activation(args.activation, [&]<Activation A>() {
    channel_map(exec, layout_of(args), NormForward<A, T>{args}, PointerPack{args.x},
                PointerPack{args.y});
  });
}

template <class T>
void norm_backward_sums(const Exec& exec, const NormPass<T>& args,
                        const NormSums<Compute<T>>& sums) {
  dispatch_activation(args.activation, [&]<Activation A>() {
    channel_reduce(exec, layout_of(args), NormBackwardSums<A, T>{args, sums},
                   PointerPack{args.x, args.dy});
  });
}

template <class T>
void norm_backward_data(const Exec& exec, const NormPass<T>& args) {
  dispatch_activation(args.activation, [&]<Activation A>() {
    if (args.mode == GradMode::add) {
      const T* old = args.dx;
      channel_map(exec, layout_of(args), NormBackwardData<A, T, true>{args},
                  PointerPack{args.x, args.dy, old}, PointerPack{args.dx});
    } else {
      channel_map(exec, layout_of(args), NormBackwardData<A, T, false>{args},
                  PointerPack{args.x, args.dy}, PointerPack{args.dx});
    }
  });
}

#define ELBO_INSTANTIATE(T)                                                                       \
  template void norm_forward(const Exec&, const NormPass<T>&);                                    \
  template void norm_backward_sums(const Exec&, const NormPass<T>&, const NormSums<Compute<T>>&); \
  template void norm_backward_data(const Exec&, const NormPass<T>&);
ELBO_INSTANTIATE(float)
ELBO_INSTANTIATE(bf16)
ELBO_INSTANTIATE(double)
#undef ELBO_INSTANTIATE

}  // namespace elbo
