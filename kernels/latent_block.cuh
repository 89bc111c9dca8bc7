// CUDA half of latent_block.cu.
//
// Both kernels: a warp owns a row, and its intermediate values of 2D floats in shared memory. Warps
// without a row leave; nothing waits for them, as a warp synchronises with itself only. Traffic:
// the row's own matrices once, both weights once per row, from L1 and L2. InStep and DimStep are
// how many elements one access moves along `in` and along `dim`: they divide the rows' lengths, and
// the rows start at multiples of them (vector loads), or are 1.
#pragma once

#include <cstdint>

#include "kernels/activation.h"
#include "kernels/activation_op.h"
#include "kernels/gpu.h"
#include "kernels/latent_block.h"
#include "kernels/reparam_kl.cuh"
#include "kernels/storage.h"

namespace elbo::cuda {

inline constexpr int kLatentWarps = 4;    // rows of a block; a guess until it has been measured
inline constexpr int kLatentColumns = 8;  // that a warp sums at a time: enough loads in flight

// Neighbouring elements, loaded and stored in one access.
template <int Step>
struct Elements {
  float v[Step];
};

template <int Step, class T>
struct alignas(Step * sizeof(T)) Stored {
  T v[Step];
};

template <int Step, class T>
__device__ Elements<Step> load_elements(const T* p) {
  const Stored<Step, T> stored = *reinterpret_cast<const Stored<Step, T>*>(p);
  Elements<Step> x;
#pragma unroll
  for (int e = 0; e < Step; ++e) x.v[e] = to_float(stored.v[e]);
  return x;
}

template <int Step, class T>
__device__ void store_elements(T* p, const Elements<Step>& x) {
  Stored<Step, T> stored;
#pragma unroll
  for (int e = 0; e < Step; ++e) stored.v[e] = from_float<T>(x.v[e]);
  *reinterpret_cast<Stored<Step, T>*>(p) = stored;
}

// The dot products of one row of x with `count` rows of W, at most kLatentColumns; lane l sums
// every 32nd element, or every 32nd vector, from l on. All lanes get all sums.
template <int Step, class T, class W>
__device__ void dot_products(const T* x, const W* weight, int64_t in, int count,
                             float (&sums)[kLatentColumns]) {
#pragma unroll
  for (int c = 0; c < kLatentColumns; ++c) sums[c] = 0.0f;
  for (int64_t k = Step * int64_t{threadIdx.x % 32}; k < in; k += Step * 32) {
    const Elements<Step> a = load_elements<Step>(x + k);
#pragma unroll
    for (int c = 0; c < kLatentColumns; ++c) {
      if (c >= count) break;
      const Elements<Step> b = load_elements<Step>(weight + c * in + k);
#pragma unroll
      for (int e = 0; e < Step; ++e) sums[c] = fmaf(a.v[e], b.v[e], sums[c]);
    }
  }
#pragma unroll
  for (int c = 0; c < kLatentColumns; ++c) sums[c] = gpu::warp_sum(sums[c]);
}

// The heads of one row, to memory and to shared memory.
template <int Step, class T, class W>
__device__ void make_stats(const LatentBlockForward<T, W>& args, int64_t row, float* stats) {
  const int lane = threadIdx.x % 32;
  const int64_t columns = 2 * args.dim;
  for (int64_t first = 0; first < columns; first += kLatentColumns) {
    const int count = static_cast<int>(min(columns - first, int64_t{kLatentColumns}));
    float sums[kLatentColumns];
    dot_products<Step>(args.x + row * args.in, args.weight + first * args.in, args.in, count, sums);
#pragma unroll
    for (int c = 0; c < kLatentColumns; ++c) {
      if (lane != c || c >= count) continue;
      const float value = sums[c] + args.bias[first + c];
      stats[first + c] = value;
      args.stats[row * columns + first + c] = value;
    }
  }
}

// z as it is stored takes the place of mu in shared memory: a quad's lane is the only one that
// reads it.
template <bool Wide, class T, class W>
__device__ void make_sample(const LatentBlockForward<T, W>& args, int64_t row, float* stats) {
  float kl = 0.0f;
  for (int64_t quad = threadIdx.x % 32; quad * kQuad < args.dim; quad += 32) {
    const int count = quad_length(args.dim, quad);
    float* mu = stats + quad * kQuad;
    QuadSample sample = sample_quad(load_quad(mu, count, false),
                                    load_quad(mu + args.dim, count, false), args.noise, row, quad);
    kl += sample.kl;
    store_quad(args.z + row * args.dim + quad * kQuad, count, Wide, sample.z);
#pragma unroll
    for (int e = 0; e < kQuad; ++e) sample.z.v[e] = to_float(from_float<T>(sample.z.v[e]));
    store_quad(mu, count, false, sample.z);
  }
  kl = gpu::warp_sum(kl);
  if (threadIdx.x % 32 == 0) args.kl[row] = kl;
}

template <int Step, class W>
__device__ float dot_product(const float* z, const W* weight, int64_t dim) {
  Elements<Step> sums = {};  // apart, so that additions need not wait for each other
#pragma unroll 4
  for (int64_t d = 0; d < dim; d += Step) {
    const Elements<Step> w = load_elements<Step>(weight + d);
#pragma unroll
    for (int e = 0; e < Step; ++e) sums.v[e] = fmaf(z[d + e], w.v[e], sums.v[e]);
  }
  float sum = 0.0f;
#pragma unroll
  for (int e = 0; e < Step; ++e) sum += sums.v[e];
  return sum;
}

// The decoder's layer; a lane owns every 32nd column. A word of ReLU's mask is a ballot, so all
// lanes count up to its padded width, whose last bits are zero.
template <int Step, class T, class W>
__device__ void make_hidden(const LatentBlockForward<T, W>& args, int64_t row, const float* z) {
  const int lane = threadIdx.x % 32;
  const bool relu = args.activation == Activation::relu;
  const auto words = static_cast<int64_t>(relu_mask_row_bytes(args.hidden) / sizeof(uint32_t));
  uint32_t* mask = relu && args.aux ? static_cast<uint32_t*>(args.aux) + row * words : nullptr;
  T* kept = needs_pre_activation(args.activation) ? static_cast<T*>(args.aux) : nullptr;
  for (int64_t word = 0; word < words; ++word) {
    const int64_t column = word * 32 + lane;
    const bool exists = column < args.hidden;
    float pre = 0.0f;
    if (exists) {
      pre = args.decoder_bias[column] +
            dot_product<Step>(z, args.decoder_weight + column * args.dim, args.dim);
    }
    if (mask) {
      const unsigned bits = __ballot_sync(0xffffffffu, pre > 0.0f);
      if (lane == 0) mask[word] = bits;
    }
    if (!exists) continue;
    const int64_t at = row * args.hidden + column;
    if (kept) kept[at] = from_float<T>(pre);
    args.y[at] = from_float<T>(activate(args.activation, pre));
  }
}

template <int InStep, int DimStep, class T, class W>
__global__ void __launch_bounds__(32 * kLatentWarps)
    latent_block_forward_kernel(LatentBlockForward<T, W> args) {
  gpu::wait_for_previous();
  ELBO_DYN_SHARED(float, shared);
  const int warp = threadIdx.x / 32;
  const int64_t row = int64_t{blockIdx.x} * kLatentWarps + warp;
  if (row >= args.batch) return;
  float* stats = shared + warp * 2 * args.dim;
  make_stats<InStep>(args, row, stats);
  __syncwarp();
  make_sample<DimStep == kQuad>(args, row, stats);
  __syncwarp();
  make_hidden<DimStep>(args, row, stats);
}

// dz of one row, kLatentColumns at a time; lane l sums every 32nd row of V from l on.
template <int Step, class T, class W>
__device__ void make_dz(const LatentBlockBackward<T, W>& args, int64_t row, float* dz) {
  const int lane = threadIdx.x % 32;
  for (int64_t first = 0; first < args.dim; first += kLatentColumns) {
    const int count = static_cast<int>(min(args.dim - first, int64_t{kLatentColumns}));
    float sums[kLatentColumns] = {};
    for (int64_t h = lane; h < args.hidden; h += 32) {
      const float dy = to_float(args.dy[row * args.hidden + h]);
      const W* weight = args.decoder_weight + h * args.dim + first;
#pragma unroll
      for (int c = 0; c < kLatentColumns; c += Step) {
        if (c >= count) break;  // Step divides count, as it divides dim
        const Elements<Step> w = load_elements<Step>(weight + c);
#pragma unroll
        for (int e = 0; e < Step; ++e) sums[c + e] = fmaf(dy, w.v[e], sums[c + e]);
      }
    }
#pragma unroll
    for (int c = 0; c < kLatentColumns; ++c) {
      const float sum = gpu::warp_sum(sums[c]);
      if (lane != c || c >= count) continue;
      T* to = args.dz + row * args.dim + first + c;
      const float total = args.dz_mode == GradMode::add ? to_float(*to) + sum : sum;
      *to = from_float<T>(total);
      dz[first + c] = total;
    }
  }
}

// dstats takes the place of dz in shared memory and the half behind it: a quad's lane is the only
// one that reads its dz.
template <bool Wide, class T, class W>
__device__ void make_dstats(const LatentBlockBackward<T, W>& args, int64_t row, float* grad) {
  const float weight = args.dkl.values ? args.dkl.at(row) : 0.0f;
  for (int64_t quad = threadIdx.x % 32; quad * kQuad < args.dim; quad += 32) {
    const int count = quad_length(args.dim, quad);
    const int64_t at = row * 2 * args.dim + quad * kQuad;
    float* dmu = grad + quad * kQuad;
    const QuadGradient g = gradient_quad(
        load_quad(args.stats + at, count, Wide), load_quad(args.stats + at + args.dim, count, Wide),
        draw_quad(args.noise, row, quad), load_quad(dmu, count, false), weight);
    store_quad(dmu, count, false, g.dmu);
    store_quad(dmu + args.dim, count, false, g.dlogvar);
    store_quad(args.dstats + at, count, Wide, g.dmu);
    store_quad(args.dstats + at + args.dim, count, Wide, g.dlogvar);
  }
}

// Undoes x's activation for the elements from column i on.
template <int Step, class T, class W>
__device__ void undo_activation(const LatentBlockBackward<T, W>& args, int64_t row, int64_t i,
                                Elements<Step>& dx) {
  const Activation activation = args.x_activation;
  if (activation == Activation::identity) return;
  if (activation == Activation::relu && args.x_aux) {
    const auto row_bytes = static_cast<int64_t>(relu_mask_row_bytes(args.in));
    const auto* mask = static_cast<const uint8_t*>(args.x_aux) + row * row_bytes;
    const int bits = mask[i / 8] >> (i % 8);  // Step divides 8, so these are in one byte
#pragma unroll
    for (int e = 0; e < Step; ++e) dx.v[e] = (bits >> e & 1) != 0 ? dx.v[e] : 0.0f;
    return;
  }
  const T* kept = needs_pre_activation(activation) ? static_cast<const T*>(args.x_aux) : args.x;
  const Elements<Step> at = load_elements<Step>(kept + row * args.in + i);
#pragma unroll
  for (int e = 0; e < Step; ++e) dx.v[e] = activate_backward(activation, at.v[e], dx.v[e]);
}

// A lane owns every 32nd element, or every 32nd vector, of the row of dx; rows of W are read
// abreast.
template <int Step, class T, class W>
__device__ void make_dx(const LatentBlockBackward<T, W>& args, int64_t row, const float* dstats) {
  for (int64_t i = Step * int64_t{threadIdx.x % 32}; i < args.in; i += Step * 32) {
    Elements<Step> dx = {};
#pragma unroll 8
    for (int64_t c = 0; c < 2 * args.dim; ++c) {
      const Elements<Step> w = load_elements<Step>(args.weight + c * args.in + i);
#pragma unroll
      for (int e = 0; e < Step; ++e) dx.v[e] = fmaf(dstats[c], w.v[e], dx.v[e]);
    }
    undo_activation<Step>(args, row, i, dx);
    T* to = args.dx + row * args.in + i;
    if (args.dx_mode == GradMode::add) {
      const Elements<Step> old = load_elements<Step>(to);
#pragma unroll
      for (int e = 0; e < Step; ++e) dx.v[e] += old.v[e];
    }
    store_elements<Step>(to, dx);
  }
}

template <int InStep, int DimStep, class T, class W>
__global__ void __launch_bounds__(32 * kLatentWarps)
    latent_block_backward_kernel(LatentBlockBackward<T, W> args) {
  gpu::wait_for_previous();
  ELBO_DYN_SHARED(float, shared);
  const int warp = threadIdx.x / 32;
  const int64_t row = int64_t{blockIdx.x} * kLatentWarps + warp;
  if (row >= args.batch) return;
  float* grad = shared + warp * 2 * args.dim;
  make_dz<DimStep>(args, row, grad);
  __syncwarp();
  make_dstats<DimStep == kQuad>(args, row, grad);
  __syncwarp();
  if (args.dx) make_dx<InStep>(args, row, grad);
}

}  // namespace elbo::cuda
