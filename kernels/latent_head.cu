#include "kernels/latent_head.h"

#include <algorithm>
#include <type_traits>

#include "kernels/error.h"
#include "kernels/linear.h"
#include "kernels/reparam_kl.h"
#ifdef ELBO_HAS_CUDA
#include "kernels/gpu.h"
#include "kernels/reparam_kl.cuh"
#endif

namespace elbo {
namespace {

template <class T>
void check_operands(const LatentHeadForward<T>& args) {
  ELBO_CHECK(args.stats && args.z && args.kl, "latent_head: an output is null");
  ELBO_CHECK(args.bias && (args.in == 0 || (args.x && args.weight)), "latent_head: ",
             !args.bias ? "the bias"
             : !args.x  ? "x"
                        : "the weight",
             " is null");
}

template <class T>
void layer_then_sample(const Exec& exec, const LatentHeadForward<T>& args) {
  BasicLinearForward<T> layer{};
  layer.x = args.x;
  layer.weight = args.weight;
  layer.bias = args.bias;
  layer.y = args.stats;
  layer.batch = args.batch;
  layer.in = args.in;
  layer.out = 2 * args.dim;
  linear_forward(exec, layer);
  ReparamKlForward<T> sample{};
  sample.mu = args.stats;
  sample.logvar = args.stats + args.dim;
  sample.row_stride = 2 * args.dim;
  sample.z = args.z;
  sample.kl = args.kl;
  sample.batch = args.batch;
  sample.dim = args.dim;
  sample.noise = args.noise;
  reparam_kl_forward(exec, sample);
}

#ifdef ELBO_HAS_CUDA

constexpr int kWarps = 4;
constexpr int kColumns = 8;  // of stats that a warp sums at a time: enough loads in flight

// The dot products of one row of x with kColumns rows of W, of which `count` exist; lane l sums every
// 32nd element, or every 32nd vector of four, from l on. All lanes get all sums.
template <int Step>
__device__ void dot_products(const float* x, const float* weight, int64_t in, int count,
                             float (&sums)[kColumns]) {
  struct alignas(Step * sizeof(float)) Piece {
    float v[Step];
  };
#pragma unroll
  for (int c = 0; c < kColumns; ++c) sums[c] = 0.0f;
  for (int64_t k = Step * int64_t{threadIdx.x % 32}; k < in; k += Step * 32) {
    const Piece a = *reinterpret_cast<const Piece*>(x + k);
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      if (c >= count) break;
      const Piece b = *reinterpret_cast<const Piece*>(weight + c * in + k);
#pragma unroll
      for (int e = 0; e < Step; ++e) sums[c] = fmaf(a.v[e], b.v[e], sums[c]);
    }
  }
#pragma unroll
  for (int c = 0; c < kColumns; ++c) sums[c] = gpu::warp_sum(sums[c]);
}

// One warp owns one row: its dot products go to shared memory, from where the same warp makes the
// sample, four dimensions a lane. Warps without a row leave; nothing waits for them, as each warp
// synchronises with itself only. Traffic: x once, W once per row (from L1 and L2), outputs once.
template <int Step>
__global__ void __launch_bounds__(32 * kWarps) latent_head_kernel(LatentHeadForward<float> args) {
  ELBO_DYN_SHARED(float, shared);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t row = int64_t{blockIdx.x} * kWarps + warp;
  if (row >= args.batch) return;
  const int64_t columns = 2 * args.dim;
  float* stats = shared + warp * columns;
  for (int64_t first = 0; first < columns; first += kColumns) {
    const int count = static_cast<int>(min(columns - first, int64_t{kColumns}));
    float sums[kColumns];
    dot_products<Step>(args.x + row * args.in, args.weight + first * args.in, args.in, count, sums);
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      if (lane != c || c >= count) continue;
      const float value = sums[c] + args.bias[first + c];
      stats[first + c] = value;
      args.stats[row * columns + first + c] = value;
    }
  }
  __syncwarp();
  ReparamKlForward<float> sample{};
  sample.mu = stats;  // of this row alone, hence no stride
  sample.logvar = stats + args.dim;
  sample.z = args.z;
  sample.dim = args.dim;
  sample.noise = args.noise;
  float kl = 0.0f;
  for (int64_t quad = lane; quad * cuda::kQuad < args.dim; quad += 32) {
    kl += cuda::forward_quad(sample, false, row, quad);
  }
  kl = gpu::warp_sum(kl);
  if (lane == 0) args.kl[row] = kl;
}

// Every row reads all of W, so the product must be small, and its statistics must fit in shared memory.
// The bound is a guess until it has been measured: 512 rows of 400 x 40.
bool is_small(const LatentHeadForward<float>& args) {
  constexpr int64_t kMostProducts = int64_t{8} << 20, kMostDim = 512;
  return args.dim > 0 && args.dim <= kMostDim &&
         args.batch * args.in * 2 * args.dim <= kMostProducts;
}

void latent_head_cuda(const Exec& exec, const LatentHeadForward<float>& args) {
  const auto aligned = [](const float* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; };
  const auto grid = static_cast<unsigned>((args.batch + kWarps - 1) / kWarps);
  const size_t shared_bytes = static_cast<size_t>(kWarps * 2 * args.dim) * sizeof(float);
  if (args.in % 4 == 0 && aligned(args.x) && aligned(args.weight)) {
    gpu::launch(latent_head_kernel<4>, grid, 32 * kWarps, shared_bytes, exec.stream, args);
  } else {
    gpu::launch(latent_head_kernel<1>, grid, 32 * kWarps, shared_bytes, exec.stream, args);
  }
}

#endif

}  // namespace

template <class T>
void latent_head_forward(const Exec& exec, const LatentHeadForward<T>& args) {
  if (args.batch <= 0) return;
  check_operands(args);
#ifdef ELBO_HAS_CUDA
  if constexpr (std::is_same_v<T, float>) {
    if (exec.on_cuda() && is_small(args)) return latent_head_cuda(exec, args);
  }
#endif
  layer_then_sample(exec, args);
}

template void latent_head_forward(const Exec&, const LatentHeadForward<float>&);
template void latent_head_forward(const Exec&, const LatentHeadForward<double>&);

}  // namespace elbo
