// CUDA bodies of the loop patterns in kernels/channel_passes.h. Include that header, not this one.
//
// Blocks are 256 threads: `across` of them side by side on neighbouring vectors of channels, down
// which the other 256 / across follow rows. A thread stays with its channels, whose constants it keeps
// in registers. Grid: x counts tiles of channels, y parts of the rows, z segments.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/channel_passes.h"
#include "kernels/error.h"
#include "kernels/gpu.h"

namespace elbo::cuda {

struct ChannelGrid {
  dim3 grid;
  unsigned across;
  int64_t rows_per_block;
};

inline constexpr int kMostAcross = 32;  // 512 neighbouring bytes
inline constexpr int64_t kMostRowParts =
    64;  // what one thread of the finishing kernel looks at is 1/8
inline constexpr int64_t kMostLayers = 1024;  // of segments; beyond that blocks loop over them
inline constexpr int64_t kFewestRounds = 8;  // rows per thread below which another block costs more
inline constexpr int64_t kReduceTarget = 528;  // blocks: four per SM of 132

inline ChannelGrid channel_grid(const ChannelLayout& at, int step, int64_t blocks, int64_t parts) {
  const int64_t vectors = (at.channels + step - 1) / step;
  ChannelGrid g{};
  g.across = 1;
  while (g.across < kMostAcross && g.across < vectors) g.across *= 2;
  const int64_t tiles = (vectors + g.across - 1) / g.across;
  const int64_t layers = std::min(at.segments, kMostLayers);
  const int64_t down = kBlock / g.across;
  const int64_t most = std::clamp<int64_t>(blocks / (tiles * layers), 1, parts);
  g.rows_per_block = std::max((at.rows + most - 1) / most, down * kFewestRounds);
  const int64_t row_parts = (at.rows + g.rows_per_block - 1) / g.rows_per_block;
  g.grid =
      dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(std::max<int64_t>(row_parts, 1)),
           static_cast<unsigned>(layers));
  return g;
}

// Joins the pairs of the threads below one another, thread (x, 0) ends up with their column's.
// slots[e * kBlock + thread] and counts[thread]; all threads call. The caller puts a barrier before
// the next use of the slots.
template <class F, int Step>
__device__ void combine_down(ChannelPair<float>* slots, float* counts, int across) {
  const int thread = threadIdx.x, y = thread / across;
  for (int half = kBlock / across / 2; half > 0; half /= 2) {
    __syncthreads();
    if (y < half) {
      const int other = thread + half * across;
      if (counts[other] > 0) {
#pragma unroll
        for (int e = 0; e < Step; ++e) {
          F::combine(slots[e * kBlock + thread], counts[thread], slots[e * kBlock + other],
                     counts[other]);
        }
        counts[thread] += counts[other];
      }
    }
  }
}

// One block owns `across` vectors of channels and one part of a segment's rows; its threads' pairs
// meet in shared memory. If there are several parts, partials[segment, part, channel] is left to
// channel_finish_kernel. Traffic: every matrix once.
template <bool Vectorised, class F, class T, int In>
__global__ void __launch_bounds__(kBlock)
    channel_reduce_kernel(F f, ChannelLayout at, int across, int64_t rows_per_block,
                          PointerPack<const T, In> in, ChannelPair<float>* partials) {
  gpu::wait_for_previous();
  constexpr int kStep = Vectorised ? kVector<T> : 1;
  __shared__ ChannelPair<float> slots[kStep * kBlock];
  __shared__ float counts[kBlock];
  const int x = threadIdx.x % across, y = threadIdx.x / across, down = kBlock / across;
  const int64_t channel = (int64_t{blockIdx.x} * across + x) * kStep;
  const int64_t first = blockIdx.y * rows_per_block;
  const int64_t last = first + rows_per_block < at.rows ? first + rows_per_block : at.rows;
  for (int64_t segment = blockIdx.z; segment < at.segments; segment += gridDim.z) {
    ChannelPair<float> pairs[kStep] = {};
    float n = 0;
    if (channel < at.channels && first + y < last) {
      typename F::Channel k[kStep];
#pragma unroll
      for (int e = 0; e < kStep; ++e) k[e] = f.channel(segment, channel + e);
      for (int64_t row = first + y; row < last; row += down) {
        n += 1.0f;
        const float inv_n = 1.0f / n;
        const int64_t base = (segment * at.rows + row) * at.channels + channel;
        const auto step = [&](int64_t i, const float* v, float*) {
          f(k[i - base], v, inv_n, pairs[i - base]);
        };
        if constexpr (Vectorised) {
          with_vector<T, In, 0>(in, NoPointers<T>{}, base, step);
        } else {
          with_element<T, In, 0>(in, NoPointers<T>{}, base, step);
        }
      }
    }
#pragma unroll
    for (int e = 0; e < kStep; ++e) slots[e * kBlock + threadIdx.x] = pairs[e];
    counts[threadIdx.x] = n;
    combine_down<F, kStep>(slots, counts, across);
    if (y == 0 && channel < at.channels) {
      for (int e = 0; e < kStep; ++e) {
        const ChannelPair<float> pair = slots[e * kBlock + threadIdx.x];
        if (gridDim.y == 1) {
          f.finish(segment, channel + e, pair);
        } else {
          partials[(segment * gridDim.y + blockIdx.y) * at.channels + channel + e] = pair;
        }
      }
    }
    __syncthreads();  // the slots are read before the next segment writes them
  }
}

// Thread (x, y) of a block joins parts y, y + 8, ... of channel 32 * blockIdx.x + x of segment
// blockIdx.y, then the eight meet in shared memory.
template <class F>
__global__ void __launch_bounds__(kBlock)
    channel_finish_kernel(F f, ChannelLayout at, int64_t parts, int64_t rows_per_part,
                          const ChannelPair<float>* partials) {
  gpu::wait_for_previous();
  __shared__ ChannelPair<float> slots[kBlock];
  __shared__ float counts[kBlock];
  const int x = threadIdx.x % 32, y = threadIdx.x / 32;
  const int64_t channel = int64_t{blockIdx.x} * 32 + x, segment = blockIdx.y;
  ChannelPair<float> pair = {};
  float n = 0;
  if (channel < at.channels) {
    for (int64_t part = y; part < parts; part += kBlock / 32) {
      const int64_t left = at.rows - part * rows_per_part;
      const auto m = static_cast<float>(left < rows_per_part ? left : rows_per_part);
      F::combine(pair, n, partials[(segment * parts + part) * at.channels + channel], m);
      n += m;
    }
  }
  slots[threadIdx.x] = pair;
  counts[threadIdx.x] = n;
  combine_down<F, 1>(slots, counts, 32);
  if (y == 0 && channel < at.channels) f.finish(segment, channel, slots[threadIdx.x]);
}

template <class F, class T, int In>
void channel_reduce(const Exec& exec, const ChannelLayout& at, F f, PointerPack<const T, In> in) {
  const bool vectorised = at.channels % kVector<T> == 0 && is_vector_aligned(in);
  const auto fit = static_cast<int64_t>(kChannelPartialBytes / sizeof(ChannelPair<float>)) /
                   (at.segments * at.channels);
  const int64_t parts = std::clamp<int64_t>(fit, 1, kMostRowParts);
  const ChannelGrid g = channel_grid(at, vectorised ? kVector<T> : 1, kReduceTarget, parts);
  auto* partials = reinterpret_cast<ChannelPair<float>*>(exec.scratch.data);
  ELBO_CHECK(g.grid.y == 1 || exec.scratch.bytes >= kChannelPartialBytes,
             "channel_reduce needs scratch, has ", exec.scratch.bytes, " bytes");
  const int across = static_cast<int>(g.across);
  if (vectorised) {
    gpu::launch(channel_reduce_kernel<true, F, T, In>, g.grid, kBlock, 0, gpu::overlapping(exec), f,
                at, across, g.rows_per_block, in, partials);
  } else {
    gpu::launch(channel_reduce_kernel<false, F, T, In>, g.grid, kBlock, 0, gpu::overlapping(exec),
                f, at, across, g.rows_per_block, in, partials);
  }
  if (g.grid.y == 1) return;
  // Several parts mean that there are fewer segments than layers in the grid.
  const dim3 grid(static_cast<unsigned>((at.channels + 31) / 32),
                  static_cast<unsigned>(at.segments));
  gpu::launch(channel_finish_kernel<F>, grid, kBlock, 0, gpu::overlapping(exec), f, at,
              int64_t{g.grid.y}, g.rows_per_block, partials);
}

// Threads as in channel_reduce_kernel; none waits for another.
template <bool Vectorised, class F, class T, int In, int Out>
__global__ void __launch_bounds__(kBlock)
    channel_map_kernel(F f, ChannelLayout at, int across, int64_t rows_per_block,
                       PointerPack<const T, In> in, PointerPack<T, Out> out) {
  gpu::wait_for_previous();
  constexpr int kStep = Vectorised ? kVector<T> : 1;
  const int x = threadIdx.x % across, y = threadIdx.x / across, down = kBlock / across;
  const int64_t channel = (int64_t{blockIdx.x} * across + x) * kStep;
  if (channel >= at.channels) return;
  const int64_t first = blockIdx.y * rows_per_block;
  const int64_t last = first + rows_per_block < at.rows ? first + rows_per_block : at.rows;
  for (int64_t segment = blockIdx.z; segment < at.segments; segment += gridDim.z) {
    typename F::Channel k[kStep];
#pragma unroll
    for (int e = 0; e < kStep; ++e) k[e] = f.channel(segment, channel + e);
    for (int64_t row = first + y; row < last; row += down) {
      const int64_t base = (segment * at.rows + row) * at.channels + channel;
      const auto step = [&](int64_t i, const float* v, float* w) { f(k[i - base], v, w); };
      if constexpr (Vectorised) {
        with_vector<T, In, Out>(in, out, base, step);
      } else {
        with_element<T, In, Out>(in, out, base, step);
      }
    }
  }
}

template <class F, class T, int In, int Out>
void channel_map(const Exec& exec, const ChannelLayout& at, F f, PointerPack<const T, In> in,
                 PointerPack<T, Out> out) {
  const bool vectorised =
      at.channels % kVector<T> == 0 && is_vector_aligned(in) && is_vector_aligned(out);
  const ChannelGrid g = channel_grid(at, vectorised ? kVector<T> : 1, 2 * kMaxBlocks, 65535);
  const int across = static_cast<int>(g.across);
  if (vectorised) {
    gpu::launch(channel_map_kernel<true, F, T, In, Out>, g.grid, kBlock, 0, gpu::overlapping(exec),
                f, at, across, g.rows_per_block, in, out);
  } else {
    gpu::launch(channel_map_kernel<false, F, T, In, Out>, g.grid, kBlock, 0, gpu::overlapping(exec),
                f, at, across, g.rows_per_block, in, out);
  }
}

}  // namespace elbo::cuda
