// Loop patterns over [segments, rows, channels] arrays in which every channel has constants of its
// own: what normalisation layers are made of. NHWC activations are one segment of B*H*W rows (batch
// norm) or B segments of H*W rows (group norm).
//
//   channel_map(exec, at, f, in, out)    f(k, x, y): y[] from x[], one element of each array
//   channel_reduce(exec, at, f, in)      f(k, x, inv_n, pair) for every row of a channel;
//                                        then f.finish(segment, channel, pair), once per channel
//
// k = f.channel(segment, channel) holds the channel's constants: loaded once per thread on CUDA,
// hoisted or read from L1 on the CPU. x and y are Compute<T> values. `pair` starts as zeros; parts of
// a channel are joined by F::combine(pair, n, other, m), the pairs of n and m rows, m > 0. inv_n is
// 1 / (rows of this part so far, this one included), for running means.
//
// Numerics  Every order of summation is fixed and independent of the thread count: on the CPU runs of
//           256 rows, joined in order, on CUDA a fixed tree per block and blocks in a fixed tree.
// Work      CUDA moves 16 bytes per access where pointers and the number of channels allow it;
//           channel_map is one launch, channel_reduce one or two. CPU loops vectorise over channels.
// Scratch   channel_reduce: at most kChannelPartialBytes of exec.scratch
//
// As kernels/launch.h: functors are named, live in an anonymous namespace of a .cu, and no .cpp of a
// CUDA build may include this.
#pragma once

#include <algorithm>

#include "kernels/launch.h"

namespace elbo {

struct ChannelLayout {
  int64_t segments, rows, channels;
  int64_t size() const { return segments * rows * channels; }
};

template <class R>
struct ChannelPair {
  R first, second;
};

inline constexpr size_t kChannelPartialBytes = size_t{512} << 10;

namespace cpu {

inline constexpr int64_t kChannelStrip =
    64;  // channels whose sums stay in the L1 cache or registers
inline constexpr int64_t kChannelRun = 256;  // rows summed in a row; also part of the result's bits
inline constexpr int64_t kMostChunks = 64;   // parts of a segment's rows that threads share out

// Rows of a segment are split into chunks by the shape alone, never by the number of threads.
template <class R>
int64_t row_chunks(const ChannelLayout& at) {
  const auto pairs = static_cast<int64_t>(kChannelPartialBytes / sizeof(ChannelPair<R>));
  const int64_t fit = pairs / std::max<int64_t>(at.segments * at.channels, 1);
  const int64_t runs = (at.rows + kChannelRun - 1) / kChannelRun;
  return std::clamp<int64_t>(std::min(fit, runs), 1, kMostChunks);
}

// Pairs of the channels [begin, begin + width) over rows [first, last) of a segment.
template <class F, class T, int In>
ELBO_HD void channel_strip(const F& f, const ChannelLayout& at, const PointerPack<const T, In>& in,
                           int64_t segment, int64_t first, int64_t last, int64_t begin,
                           int64_t width, ChannelPair<Compute<T>>* pairs) {
  using R = Compute<T>;
  R total = 0;
  for (int64_t lane = 0; lane < width; ++lane) pairs[lane] = {};
  for (int64_t run = first; run < last; run += kChannelRun) {
    R a[kChannelStrip] = {}, b[kChannelStrip] = {}, n = 0;
    for (int64_t row = run; row < std::min(last, run + kChannelRun); ++row) {
      const int64_t base = (segment * at.rows + row) * at.channels + begin;
      n += R(1);
      const R inv_n = R(1) / n;
#pragma GCC ivdep
      for (int64_t lane = 0; lane < width; ++lane) {
        R x[In];
        load_element(in, base + lane, x);
        ChannelPair<R> pair{a[lane], b[lane]};
        f(f.channel(segment, begin + lane), x, inv_n, pair);
        a[lane] = pair.first;
        b[lane] = pair.second;
      }
    }
    for (int64_t lane = 0; lane < width; ++lane) {
      F::combine(pairs[lane], total, ChannelPair<R>{a[lane], b[lane]}, n);
    }
    total += n;
  }
}

// Work items are (segment, chunk of rows, strip of channels). With one chunk there is nothing to join.
template <class F, class T, int In>
ELBO_CLONES void channel_reduce_range(F f, ChannelLayout at, int64_t chunks,
                                      PointerPack<const T, In> in,
                                      ChannelPair<Compute<T>>* partials, int64_t begin,
                                      int64_t end) {
  const int64_t strips = (at.channels + kChannelStrip - 1) / kChannelStrip;
  for (int64_t item = begin; item < end; ++item) {
    const int64_t strip = item % strips * kChannelStrip, part = item / strips;
    const int64_t segment = part / chunks, chunk = part % chunks;
    const int64_t width = std::min(kChannelStrip, at.channels - strip);
    ChannelPair<Compute<T>> pairs[kChannelStrip];
    channel_strip(f, at, in, segment, at.rows * chunk / chunks, at.rows * (chunk + 1) / chunks,
                  strip, width, pairs);
    for (int64_t lane = 0; lane < width; ++lane) {
      if (chunks == 1) {
        f.finish(segment, strip + lane, pairs[lane]);
      } else {
        partials[part * at.channels + strip + lane] = pairs[lane];
      }
    }
  }
}

template <class F, class T, int In>
void channel_reduce(const Exec& exec, const ChannelLayout& at, F f, PointerPack<const T, In> in) {
  using R = Compute<T>;
  const int64_t chunks = row_chunks<R>(at);
  const int64_t strips = (at.channels + kChannelStrip - 1) / kChannelStrip;
  auto* partials = reinterpret_cast<ChannelPair<R>*>(exec.scratch.data);
  ELBO_CHECK(chunks == 1 || exec.scratch.bytes >= kChannelPartialBytes,
             "channel_reduce needs scratch, has ", exec.scratch.bytes, " bytes");
  parallel_ranges(
      at.segments * chunks * strips,
      [&](int64_t begin, int64_t end) {
        channel_reduce_range(f, at, chunks, in, partials, begin, end);
      },
      at.rows / chunks * std::min(kChannelStrip, at.channels));
  if (chunks == 1) return;
  for (int64_t segment = 0; segment < at.segments; ++segment) {
    for (int64_t channel = 0; channel < at.channels; ++channel) {
      ChannelPair<R> pair{};
      for (int64_t chunk = 0; chunk < chunks; ++chunk) {
        const int64_t first = at.rows * chunk / chunks, last = at.rows * (chunk + 1) / chunks;
        F::combine(pair, static_cast<R>(first),
                   partials[(segment * chunks + chunk) * at.channels + channel],
                   static_cast<R>(last - first));
      }
      f.finish(segment, channel, pair);
    }
  }
}

template <class F, class T, int In, int Out>
ELBO_CLONES void channel_map_range(F f, ChannelLayout at, PointerPack<const T, In> in,
                                   PointerPack<T, Out> out, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const int64_t segment = row / at.rows, base = row * at.channels;
#pragma GCC ivdep
    for (int64_t channel = 0; channel < at.channels; ++channel) {
      Compute<T> x[In], y[Out];
      load_element(in, base + channel, x);
      f(f.channel(segment, channel), x, y);
      store_element(out, base + channel, y);
    }
  }
}

}  // namespace cpu
}  // namespace elbo

#ifdef ELBO_HAS_CUDA
#include "kernels/channel_passes_cuda.cuh"
#endif

namespace elbo {

template <class F, class T, int In, int Out>
void channel_map([[maybe_unused]] const Exec& exec, const ChannelLayout& at, F f,
                 PointerPack<const T, In> in, PointerPack<T, Out> out) {
  if (at.size() == 0) return;
#ifdef ELBO_HAS_CUDA
  if constexpr (kHasDeviceCode<T>) {
    if (exec.on_cuda()) return cuda::channel_map(exec, at, f, in, out);
  }
#endif
  cpu::parallel_ranges(
      at.segments * at.rows,
      [&](int64_t begin, int64_t end) { cpu::channel_map_range(f, at, in, out, begin, end); },
      at.channels);
}

// No rows: finish is called with a pair of zeros.
template <class F, class T, int In>
void channel_reduce(const Exec& exec, const ChannelLayout& at, F f, PointerPack<const T, In> in) {
  if (at.segments == 0 || at.channels == 0) return;
#ifdef ELBO_HAS_CUDA
  if constexpr (kHasDeviceCode<T>) {
    if (exec.on_cuda()) return cuda::channel_reduce(exec, at, f, in);
  }
#endif
  cpu::channel_reduce(exec, at, f, in);
}

}  // namespace elbo
