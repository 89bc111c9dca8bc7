// CUDA half of reparam_kl.cu. latent_block.cuh uses its quads.
//
// All three kernels: a thread owns four consecutive dimensions of a row, which are one Philox call and,
// where pointers and strides allow (`wide`), one access of four elements: 16 bytes of float, 8 of
// bf16. The last quad of a row may be shorter and is then read and written element by element.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <initializer_list>

#include "kernels/exec.h"
#include "kernels/gpu.h"
#include "kernels/noise.h"
#include "kernels/reparam_kl.h"
#include "kernels/reparam_kl_element.h"
#include "kernels/storage.h"

namespace elbo::cuda {

inline constexpr int kQuad = 4;
inline constexpr int kReparamBlock = 256;
inline constexpr int64_t kReparamMaxBlocks =
    1056;  // fill 132 SMs eight times; beyond, threads loop

template <class T>
struct alignas(kQuad * sizeof(T)) Quad {
  T v[kQuad];
};

struct QuadValues {
  float v[kQuad];
};

// Elements past `count` are zero.
template <class T>
__device__ QuadValues load_quad(const T* p, int count, bool wide) {
  QuadValues x = {};
  if (wide && count == kQuad) {
    const Quad<T> q = *reinterpret_cast<const Quad<T>*>(p);
#pragma unroll
    for (int e = 0; e < kQuad; ++e) x.v[e] = to_float(q.v[e]);
  } else {
#pragma unroll
    for (int e = 0; e < kQuad; ++e) {
      if (e < count) x.v[e] = to_float(p[e]);
    }
  }
  return x;
}

template <class T>
__device__ void store_quad(T* p, int count, bool wide, const QuadValues& x) {
  if (wide && count == kQuad) {
    Quad<T> q;
#pragma unroll
    for (int e = 0; e < kQuad; ++e) q.v[e] = from_float<T>(x.v[e]);
    *reinterpret_cast<Quad<T>*>(p) = q;
  } else {
#pragma unroll
    for (int e = 0; e < kQuad; ++e) {
      if (e < count) p[e] = from_float<T>(x.v[e]);
    }
  }
}

__device__ inline QuadValues draw_quad(const NoiseSource& noise, int64_t row, int64_t quad) {
  const Four four =
      normal4(noise.key(), noise.address(row, noise.step()), static_cast<uint32_t>(quad));
  return {{four.v0, four.v1, four.v2, four.v3}};
}

__device__ inline int quad_length(int64_t dim, int64_t quad) {
  return static_cast<int>(min(dim - quad * kQuad, int64_t{kQuad}));
}

struct QuadSample {
  QuadValues z;
  float kl;  // the quad's share of its row's
};

// Elements past the row's end come as mu = logvar = 0, whose KL is zero.
__device__ inline QuadSample sample_quad(const QuadValues& mu, const QuadValues& logvar,
                                         const NoiseSource& noise, int64_t row, int64_t quad) {
  const QuadValues eps = draw_quad(noise, row, quad);
  QuadSample sample = {};
#pragma unroll
  for (int e = 0; e < kQuad; ++e) {
    const ReparamElement<float> element = reparam_element(mu.v[e], logvar.v[e], eps.v[e]);
    sample.z.v[e] = element.z;
    sample.kl += element.kl;
  }
  return sample;
}

struct QuadGradient {
  QuadValues dmu, dlogvar;
};

// `weight` is the gradient of the row's KL.
__device__ inline QuadGradient gradient_quad(const QuadValues& mu, const QuadValues& logvar,
                                             const QuadValues& eps, const QuadValues& dz,
                                             float weight) {
  QuadGradient gradient;
#pragma unroll
  for (int e = 0; e < kQuad; ++e) {
    const ReparamGradient<float> g =
        reparam_gradient(mu.v[e], logvar.v[e], eps.v[e], dz.v[e], weight);
    gradient.dmu.v[e] = g.dmu;
    gradient.dlogvar.v[e] = g.dlogvar;
  }
  return gradient;
}

// Writes z of one quad and returns its share of the KL.
template <class T>
__device__ float forward_quad(const ReparamKlForward<T>& args, bool wide, int64_t row,
                              int64_t quad) {
  const int count = quad_length(args.dim, quad);
  const int64_t at = row * args.row_stride + quad * kQuad;
  const QuadSample sample =
      sample_quad(load_quad(args.mu + at, count, wide), load_quad(args.logvar + at, count, wide),
                  args.noise, row, quad);
  store_quad(args.z + row * args.dim + quad * kQuad, count, wide, sample.z);
  return sample.kl;
}

// `lanes` neighbouring threads own a row: a power of two up to 32, so that a warp holds several
// short rows; or, with BlockPerRow, the whole block owns one. The KL of a row is summed by a
// butterfly within its lanes, or by block_sum. The loop over rows is uniform across the block and
// no thread leaves early, so all 32 lanes take part in every shuffle and all threads in every
// barrier.
template <class T, bool BlockPerRow>
__global__ void __launch_bounds__(kReparamBlock)
    reparam_kl_forward_kernel(ReparamKlForward<T> args, bool wide, int lanes) {
  __shared__ float scratch[gpu::kBlockSumScratch];
  const int64_t quads = (args.dim + kQuad - 1) / kQuad;
  const int64_t rows_per_block = BlockPerRow ? 1 : blockDim.x / lanes;
  const int lane = BlockPerRow ? threadIdx.x : threadIdx.x % lanes;
  const int step = BlockPerRow ? blockDim.x : lanes;
  for (int64_t first = blockIdx.x * rows_per_block; first < args.batch;
       first += gridDim.x * rows_per_block) {
    const int64_t row = first + (BlockPerRow ? 0 : threadIdx.x / lanes);
    float kl = 0.0f;
    if (row < args.batch) {
      for (int64_t quad = lane; quad < quads; quad += step) {
        kl += forward_quad(args, wide, row, quad);
      }
    }
    if constexpr (BlockPerRow) {
      kl = gpu::block_sum(kl, scratch);
    } else {
      for (int distance = lanes / 2; distance > 0; distance /= 2) {
        kl += __shfl_xor_sync(0xffffffffu, kl, distance);
      }
    }
    if (args.kl && lane == 0 && row < args.batch) args.kl[row] = kl;
  }
}

// One thread per quad, striding by the grid.
template <class T>
__global__ void __launch_bounds__(kReparamBlock)
    reparam_kl_backward_kernel(ReparamKlBackward<T> args, bool wide) {
  const int64_t quads = (args.dim + kQuad - 1) / kQuad;
  const int64_t stride = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < args.batch * quads;
       i += stride) {
    const int64_t row = i / quads, quad = i % quads;
    const int count = quad_length(args.dim, quad);
    const int64_t at = row * args.row_stride + quad * kQuad;
    const int64_t grad_at = row * args.grad_row_stride + quad * kQuad;
    const float weight = args.dkl.values ? args.dkl.at(row) : 0.0f;
    QuadValues dz = {};
    if (args.dz) dz = load_quad(args.dz + row * args.dim + quad * kQuad, count, wide);
    QuadGradient g = gradient_quad(load_quad(args.mu + at, count, wide),
                                   load_quad(args.logvar + at, count, wide),
                                   draw_quad(args.noise, row, quad), dz, weight);
    if (args.mode == GradMode::add) {
      const QuadValues dmu = load_quad(args.dmu + grad_at, count, wide);
      const QuadValues dlogvar = load_quad(args.dlogvar + grad_at, count, wide);
#pragma unroll
      for (int e = 0; e < kQuad; ++e) {
        g.dmu.v[e] += dmu.v[e];
        g.dlogvar.v[e] += dlogvar.v[e];
      }
    }
    store_quad(args.dmu + grad_at, count, wide, g.dmu);
    store_quad(args.dlogvar + grad_at, count, wide, g.dlogvar);
  }
}

// One thread per quad, striding by the grid.
template <class T>
__global__ void __launch_bounds__(kReparamBlock)
    gaussian_noise_kernel(T* out, int64_t rows, int64_t dim, NoiseSource noise, bool wide) {
  const int64_t quads = (dim + kQuad - 1) / kQuad;
  const int64_t stride = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < rows * quads; i += stride) {
    const int64_t row = i / quads, quad = i % quads;
    store_quad(out + row * dim + quad * kQuad, quad_length(dim, quad), wide,
               draw_quad(noise, row, quad));
  }
}

// Whether quads of all these matrices start at multiples of a quad's size.
template <class T, class... Pointers>
bool quads_are_aligned(std::initializer_list<int64_t> row_strides, Pointers... pointers) {
  bool aligned = ((reinterpret_cast<uintptr_t>(pointers) % sizeof(Quad<T>) == 0) && ...);
  for (int64_t stride : row_strides) aligned = aligned && stride % kQuad == 0;
  return aligned;
}

// Blocks for one thread per quad.
inline unsigned quad_blocks(int64_t quads) {
  return static_cast<unsigned>(
      std::clamp<int64_t>((quads + kReparamBlock - 1) / kReparamBlock, 1, kReparamMaxBlocks));
}

template <class T>
void reparam_kl_forward(const Exec& exec, const ReparamKlForward<T>& args) {
  constexpr int64_t kMaxQuadsPerWarp = 256;  // eight rounds of a warp; longer rows get a block
  const bool wide = quads_are_aligned<T>({args.row_stride, args.dim}, args.mu, args.logvar, args.z);
  const auto quads = static_cast<uint64_t>((args.dim + kQuad - 1) / kQuad);
  if (quads > kMaxQuadsPerWarp) {
    const auto grid = static_cast<unsigned>(std::min<int64_t>(args.batch, kReparamMaxBlocks));
    gpu::launch(reparam_kl_forward_kernel<T, true>, grid, kReparamBlock, 0, exec.stream, args, wide,
                kReparamBlock);
  } else {
    const int lanes = static_cast<int>(std::clamp<uint64_t>(std::bit_ceil(quads), 1, 32));
    gpu::launch(reparam_kl_forward_kernel<T, false>, quad_blocks(args.batch * lanes), kReparamBlock,
                0, exec.stream, args, wide, lanes);
  }
}

template <class T>
void reparam_kl_backward(const Exec& exec, const ReparamKlBackward<T>& args) {
  // A null dz is aligned.
  const bool wide = quads_are_aligned<T>({args.row_stride, args.grad_row_stride, args.dim}, args.mu,
                                         args.logvar, args.dz, args.dmu, args.dlogvar);
  const int64_t quads = args.batch * ((args.dim + kQuad - 1) / kQuad);
  gpu::launch(reparam_kl_backward_kernel<T>, quad_blocks(quads), kReparamBlock, 0, exec.stream,
              args, wide);
}

template <class T>
void gaussian_noise(const Exec& exec, T* out, int64_t rows, int64_t dim, const NoiseSource& noise) {
  const int64_t quads = rows * ((dim + kQuad - 1) / kQuad);
  gpu::launch(gaussian_noise_kernel<T>, quad_blocks(quads), kReparamBlock, 0, exec.stream, out,
              rows, dim, noise, quads_are_aligned<T>({dim}, out));
}

}  // namespace elbo::cuda
