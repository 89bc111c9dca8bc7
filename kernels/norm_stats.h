// Mean and sum of squared deviations per channel, for channel_reduce: Welford's recurrence on values
// from which the channel's first one is taken away. Private to kernels/*_norm.cu.
//
// Neither alone is enough in fp32: without the shift, a mean of 1000 beside a deviation of 1 is rounded
// at every row; without the recurrence, a first value that is far off (a picture's corner) makes
// sum d^2 - (sum d)^2 / n cancel.
// Source    Welford 1962, Technometrics 4(3); joining parts: Chan, Golub & LeVeque 1983, Am. Stat. 37(3)
#pragma once

#include "kernels/channel_passes.h"
#include "kernels/finite_check.h"
#include "kernels/math.h"

namespace elbo {

template <class R>
struct MomentsChannel {
  R shift;
};

// Base of a functor: adds `finish`, which gets (mean - shift, sum of squared deviations).
template <class T>
struct Moments {
  using R = Compute<T>;
  using Channel = MomentsChannel<R>;
  const T* x;
  ChannelLayout at;

  ELBO_HD Channel channel(int64_t segment, int64_t channel) const {
    return {to_float(x[segment * at.rows * at.channels + channel])};
  }
  ELBO_HD void operator()(const Channel& k, const R* in, R inv_n, ChannelPair<R>& pair) const {
    const R value = in[0] - k.shift;
    const R delta = value - pair.first;
    pair.first = math::fma(delta, inv_n, pair.first);
    pair.second = math::fma(delta, value - pair.first, pair.second);
  }
  ELBO_HD static void combine(ChannelPair<R>& to, R n, const ChannelPair<R>& from, R m) {
    const R delta = from.first - to.first, share = m / (n + m);
    to.first = math::fma(delta, share, to.first);
    to.second += math::fma(delta * delta, n * share, from.second);
  }
};

// 1 / sqrt(variance + epsilon). An infinite variance gives NaN, not 0: activations that overflow must
// reach the loss and its check, not vanish into a constant.
template <class R>
ELBO_HD R reciprocal_deviation(R variance, R epsilon) {
  return (variance - variance + R(1)) / math::sqrt(variance + epsilon);
}

}  // namespace elbo
