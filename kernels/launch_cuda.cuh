// CUDA bodies of the loop patterns in kernels/launch.h. Include that header, not this one.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/error.h"
#include "kernels/exec.h"
#include "kernels/gpu.h"
#include "kernels/launch.h"
#include "kernels/storage.h"

namespace elbo::cuda {

inline constexpr int kBlock = 256;
// Enough blocks of 256 to fill 132 SMs at 8 blocks each; beyond that threads loop.
inline constexpr int64_t kMaxBlocks = 1056;
// Blocks that own one row at a time: twice what 132 SMs hold of the smallest blocks.
inline constexpr int64_t kMaxRowBlocks = 8448;
// Blocks of a scalar reduction. Fixed, because the partition is part of the result's bits.
inline constexpr int kReduceBlocks = kBlock;

inline unsigned blocks_for(int64_t threads) {
  return static_cast<unsigned>(std::clamp<int64_t>((threads + kBlock - 1) / kBlock, 1, kMaxBlocks));
}

template <class T, int N>
bool is_vector_aligned(const PointerPack<T, N>& pack) {
  for (int k = 0; k < N; ++k) {
    if (reinterpret_cast<uintptr_t>(pack.at[k]) % 16 != 0) return false;
  }
  return true;
}

// 16 bytes of T in registers, moved by one load or store.
template <class T>
struct alignas(16) Vector {
  T v[kVector<T>];
};

template <class T, int N>
__device__ void load_vectors(const PointerPack<const T, N>& in, int64_t i, Vector<T>* x) {
#pragma unroll
  for (int k = 0; k < N; ++k) x[k] = *reinterpret_cast<const Vector<T>*>(in.at[k] + i);
}

template <class T, int N>
__device__ void store_vectors(const PointerPack<T, N>& out, int64_t i, const Vector<T>* y) {
#pragma unroll
  for (int k = 0; k < N; ++k) *reinterpret_cast<Vector<T>*>(out.at[k] + i) = y[k];
}

// Calls step(i, x, y) for one element with its inputs loaded and outputs stored.
template <class T, int In, int Out, class Step>
__device__ void with_element(const PointerPack<const T, In>& in, const PointerPack<T, Out>& out,
                             int64_t i, Step step) {
  float x[In > 0 ? In : 1], y[Out > 0 ? Out : 1];
#pragma unroll
  for (int k = 0; k < In; ++k) x[k] = to_float(in.at[k][i]);
  step(i, x, y);
#pragma unroll
  for (int k = 0; k < Out; ++k) out.at[k][i] = from_float<T>(y[k]);
}

// The same for kVector<T> consecutive elements, with one 16-byte access per matrix.
template <class T, int In, int Out, class Step>
__device__ void with_vector(const PointerPack<const T, In>& in, const PointerPack<T, Out>& out,
                            int64_t i, Step step) {
  Vector<T> x[In > 0 ? In : 1], y[Out > 0 ? Out : 1];
  load_vectors(in, i, x);
#pragma unroll
  for (int e = 0; e < kVector<T>; ++e) {
    float xe[In > 0 ? In : 1], ye[Out > 0 ? Out : 1];
#pragma unroll
    for (int k = 0; k < In; ++k) xe[k] = to_float(x[k].v[e]);
    step(i + e, xe, ye);
#pragma unroll
    for (int k = 0; k < Out; ++k) y[k].v[e] = from_float<T>(ye[k]);
  }
  store_vectors(out, i, y);
}

// One thread per index, striding by the grid.
template <class F>
__global__ void __launch_bounds__(kBlock) for_each_kernel(F f, int64_t n) {
  gpu::wait_for_previous();
  const int64_t stride = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += stride) f(i);
}

template <class F>
void for_each(const Exec& exec, int64_t n, F f) {
  gpu::launch(for_each_kernel<F>, blocks_for(n), kBlock, 0, gpu::overlapping(exec), f, n);
}

// One thread owns one 16-byte vector per round; the first threads of the grid also take the tail.
template <bool Vectorised, class F, class T, int In, int Out>
__global__ void __launch_bounds__(kBlock)
    map_kernel(F f, int64_t n, PointerPack<const T, In> in, PointerPack<T, Out> out) {
  gpu::wait_for_previous();
  constexpr int kStep = Vectorised ? kVector<T> : 1;
  const auto step = [&f](int64_t i, const float* x, float* y) { f(i, x, y); };
  const int64_t thread = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const int64_t stride = int64_t{gridDim.x} * blockDim.x;
  for (int64_t v = thread; v < n / kStep; v += stride) {
    if constexpr (Vectorised) {
      with_vector<T, In, Out>(in, out, v * kStep, step);
    } else {
      with_element<T, In, Out>(in, out, v, step);
    }
  }
  const int64_t tail = n - n % kStep + thread;
  if (tail < n) with_element<T, In, Out>(in, out, tail, step);
}

template <class F, class T, int In, int Out>
void map(const Exec& exec, int64_t n, F f, PointerPack<const T, In> in, PointerPack<T, Out> out) {
  if (is_vector_aligned(in) && is_vector_aligned(out)) {
    gpu::launch(map_kernel<true, F, T, In, Out>, blocks_for(n / kVector<T>), kBlock, 0,
                gpu::overlapping(exec), f, n, in, out);
  } else {
    gpu::launch(map_kernel<false, F, T, In, Out>, blocks_for(n), kBlock, 0, gpu::overlapping(exec),
                f, n, in, out);
  }
}

// One block owns one row (grid-stride over rows); thread t takes vectors t, t + blockDim, ...
// The loop over rows is uniform across the block, so the barriers in block_sum are reached by all.
template <bool Vectorised, class F, class T, int In, int Out>
__global__ void __launch_bounds__(kBlock)
    row_reduce_kernel(F f, int64_t rows, int64_t cols, PointerPack<const T, In> in,
                      PointerPack<T, Out> out) {
  gpu::wait_for_previous();
  __shared__ float scratch[gpu::kBlockSumScratch];
  constexpr int kStep = Vectorised ? kVector<T> : 1;
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    float sums[F::kSums] = {};
    const int64_t base = row * cols;
    const auto step = [&](int64_t i, const float* x, float* y) { f(row, i - base, x, y, sums); };
    for (int64_t v = threadIdx.x; v < cols / kStep; v += blockDim.x) {
      if constexpr (Vectorised) {
        with_vector<T, In, Out>(in, out, base + v * kStep, step);
      } else {
        with_element<T, In, Out>(in, out, base + v, step);
      }
    }
    for (int k = 0; k < F::kSums; ++k) sums[k] = gpu::block_sum(sums[k], scratch);
    if (threadIdx.x == 0) f.finish(row, sums);
  }
}

template <class F, class T, int In, int Out>
void row_reduce(const Exec& exec, int64_t rows, int64_t cols, F f, PointerPack<const T, In> in,
                PointerPack<T, Out> out) {
  const bool vectorised = cols % kVector<T> == 0 && is_vector_aligned(in) && is_vector_aligned(out);
  const int64_t steps = vectorised ? cols / kVector<T> : cols;
  const auto block = static_cast<unsigned>(std::clamp<int64_t>((steps + 31) / 32 * 32, 32, kBlock));
  const auto grid = static_cast<unsigned>(std::min<int64_t>(rows, kMaxRowBlocks));
  if (vectorised) {
    gpu::launch(row_reduce_kernel<true, F, T, In, Out>, grid, block, 0, gpu::overlapping(exec), f,
                rows, cols, in, out);
  } else {
    gpu::launch(row_reduce_kernel<false, F, T, In, Out>, grid, block, 0, gpu::overlapping(exec), f,
                rows, cols, in, out);
  }
}

// One block owns 32 neighbouring columns; warp w sums rows w, w + 8, ... and the eight partial sums
// of a column are added in warp order. Loads of a warp are 32 neighbouring elements.
inline constexpr int kColWarps = kBlock / 32;

template <class F, class T, int In, int Out>
__global__ void __launch_bounds__(kBlock)
    col_reduce_kernel(F f, int64_t rows, int64_t cols, PointerPack<const T, In> in,
                      PointerPack<T, Out> out) {
  gpu::wait_for_previous();
  __shared__ float partial[F::kSums][kColWarps][32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t col = int64_t{blockIdx.x} * 32 + lane;
  float sums[F::kSums] = {};
  if (col < cols) {
    for (int64_t row = warp; row < rows; row += kColWarps) {
      const auto step = [&](int64_t, const float* x, float* y) { f(row, col, x, y, sums); };
      with_element<T, In, Out>(in, out, row * cols + col, step);
    }
  }
  for (int k = 0; k < F::kSums; ++k) partial[k][warp][lane] = sums[k];
  __syncthreads();
  if (warp == 0 && col < cols) {
    for (int k = 0; k < F::kSums; ++k) {
      sums[k] = partial[k][0][lane];
      for (int w = 1; w < kColWarps; ++w) sums[k] += partial[k][w][lane];
    }
    f.finish(col, sums);
  }
}

template <class F, class T, int In, int Out>
void col_reduce(const Exec& exec, int64_t rows, int64_t cols, F f, PointerPack<const T, In> in,
                PointerPack<T, Out> out) {
  const auto grid = static_cast<unsigned>((cols + 31) / 32);
  gpu::launch(col_reduce_kernel<F, T, In, Out>, grid, kBlock, 0, gpu::overlapping(exec), f, rows,
              cols, in, out);
}

// Block b sums vectors b*256+t, striding by the grid, into partials[b]; the block that draws the
// last ticket adds the partials in block order in fp64 and calls finish. The fence before the
// ticket and the one after it order the partials between blocks; which block comes last does not
// matter.
template <bool Vectorised, class F, class T, int In>
__global__ void __launch_bounds__(kBlock)
    reduce_kernel(F f, int64_t n, PointerPack<const T, In> in, float* partials, uint32_t* ticket) {
  gpu::wait_for_previous();
  __shared__ float scratch[gpu::kBlockSumScratch];
  __shared__ bool is_last;
  constexpr int kStep = Vectorised ? kVector<T> : 1;
  const int64_t thread = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const int64_t stride = int64_t{gridDim.x} * blockDim.x;
  float sums[F::kSums] = {};
  const NoPointers<T> no_out{};
  const auto step = [&](int64_t i, const float* x, float*) { f(i, x, sums); };
  for (int64_t v = thread; v < n / kStep; v += stride) {
    if constexpr (Vectorised) {
      with_vector<T, In, 0>(in, no_out, v * kStep, step);
    } else {
      with_element<T, In, 0>(in, no_out, v, step);
    }
  }
  const int64_t tail = n - n % kStep + thread;
  if (tail < n) with_element<T, In, 0>(in, no_out, tail, step);
  for (int k = 0; k < F::kSums; ++k) sums[k] = gpu::block_sum(sums[k], scratch);
  if (threadIdx.x == 0) {
    for (int k = 0; k < F::kSums; ++k) partials[blockIdx.x * F::kSums + k] = sums[k];
    __threadfence();
    is_last = atomicAdd(ticket, 1u) == gridDim.x - 1;
  }
  __syncthreads();
  if (!is_last) return;
  __threadfence();
  __shared__ double tree[kReduceBlocks];
  double total[F::kSums] = {};
  for (int k = 0; k < F::kSums; ++k) {
    tree[threadIdx.x] = threadIdx.x < gridDim.x ? partials[threadIdx.x * F::kSums + k] : 0.0;
    for (unsigned width = kBlock / 2; width > 0; width /= 2) {
      __syncthreads();
      if (threadIdx.x < width) tree[threadIdx.x] += tree[threadIdx.x + width];
    }
    if (threadIdx.x == 0) total[k] = tree[0];
    __syncthreads();  // thread 0 has read tree[1] before thread 1 overwrites it for the next sum
  }
  if (threadIdx.x == 0) {
    f.finish(total);
    *ticket = 0;
  }
}

template <class F, class T, int In>
void reduce(const Exec& exec, int64_t n, F f, PointerPack<const T, In> in) {
  auto* partials = reinterpret_cast<float*>(exec.scratch.data);
  ELBO_CHECK(exec.scratch.bytes >= kReduceBlocks * F::kSums * sizeof(float) && exec.scratch.tickets,
             "reduce needs scratch and a ticket, has ", exec.scratch.bytes, " bytes");
  const bool vectorised = is_vector_aligned(in);
  const int64_t steps = vectorised ? n / kVector<T> : n;
  const auto grid =
      static_cast<unsigned>(std::clamp<int64_t>((steps + kBlock - 1) / kBlock, 1, kReduceBlocks));
  if (vectorised) {
    gpu::launch(reduce_kernel<true, F, T, In>, grid, kBlock, 0, gpu::overlapping(exec), f, n, in,
                partials, exec.scratch.tickets);
  } else {
    gpu::launch(reduce_kernel<false, F, T, In>, grid, kBlock, 0, gpu::overlapping(exec), f, n, in,
                partials, exec.scratch.tickets);
  }
}

}  // namespace elbo::cuda
