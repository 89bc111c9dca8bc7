#include "kernels/attention.h"

#include <algorithm>
#include <cmath>

#include "kernels/batched_product.h"
#include "kernels/error.h"
#include "kernels/launch.h"
#include "kernels/math.h"

namespace elbo {
namespace {

// Sum of f(i) for i < n in sixteen interleaved lanes, as kernels/launch.h does rows.
template <class R, class F>
ELBO_HD R sum_of(int64_t n, F f) {
  R lanes[1][cpu::kLanes] = {}, sum[1];
  const int64_t whole = n - n % cpu::kLanes;
  for (int64_t block = 0; block < whole; block += cpu::kLanes) {
#pragma omp simd
    for (int lane = 0; lane < cpu::kLanes; ++lane) lanes[0][lane] += f(block + lane);
  }
  for (int64_t i = whole; i < n; ++i) lanes[0][i - whole] += f(i);
  cpu::fold_lanes(lanes, sum);
  return sum[0];
}

template <class R>
ELBO_CLONES void softmax_range(R* scores, int64_t cols, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    R* s = scores + row * cols;
    R largest = s[0];
#pragma omp simd reduction(max : largest)
    for (int64_t i = 0; i < cols; ++i) largest = s[i] > largest ? s[i] : largest;
#pragma omp simd
    for (int64_t i = 0; i < cols; ++i) s[i] = math::exp(s[i] - largest);
    const R scale = R(1) / sum_of<R>(cols, [&](int64_t i) { return s[i]; });
#pragma omp simd
    for (int64_t i = 0; i < cols; ++i) s[i] *= scale;
  }
}

template <class R>
ELBO_CLONES void softmax_backward_range(const R* probabilities, R* gradients, int64_t cols,
                                        int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const R* p = probabilities + row * cols;
    R* d = gradients + row * cols;
    const R mean = sum_of<R>(cols, [&](int64_t i) { return p[i] * d[i]; });
#pragma omp simd
    for (int64_t i = 0; i < cols; ++i) d[i] = p[i] * (d[i] - mean);
  }
}

#ifdef ELBO_HAS_CUDA

// One warp owns one row, striding over rows; lane l takes columns l, l + 32, ... and nobody else's, so
// that writing in place needs no barrier. Traffic: the row from memory once, then from L1.
__global__ void __launch_bounds__(cuda::kBlock)
    softmax_kernel(float* scores, int64_t rows, int64_t cols) {
  gpu::wait_for_previous();
  const int lane = threadIdx.x % 32;
  const int64_t warps = int64_t{gridDim.x} * (cuda::kBlock / 32);
  for (int64_t row = int64_t{blockIdx.x} * (cuda::kBlock / 32) + threadIdx.x / 32; row < rows;
       row += warps) {
    float* s = scores + row * cols;
    float largest = -INFINITY;
    for (int64_t i = lane; i < cols; i += 32) largest = s[i] > largest ? s[i] : largest;
    for (int distance = 16; distance > 0; distance /= 2) {
      const float other = __shfl_xor_sync(0xffffffffu, largest, distance);
      largest = other > largest ? other : largest;
    }
    float sum = 0.0f;
    for (int64_t i = lane; i < cols; i += 32) sum += math::exp(s[i] - largest);
    const float scale = 1.0f / gpu::warp_sum(sum);
    for (int64_t i = lane; i < cols; i += 32) s[i] = scale * math::exp(s[i] - largest);
  }
}

// As softmax_kernel.
__global__ void __launch_bounds__(cuda::kBlock)
    softmax_backward_kernel(const float* probabilities, float* gradients, int64_t rows,
                            int64_t cols) {
  gpu::wait_for_previous();
  const int lane = threadIdx.x % 32;
  const int64_t warps = int64_t{gridDim.x} * (cuda::kBlock / 32);
  for (int64_t row = int64_t{blockIdx.x} * (cuda::kBlock / 32) + threadIdx.x / 32; row < rows;
       row += warps) {
    const float* p = probabilities + row * cols;
    float* d = gradients + row * cols;
    float sum = 0.0f;
    for (int64_t i = lane; i < cols; i += 32) sum += p[i] * d[i];
    const float mean = gpu::warp_sum(sum);
    for (int64_t i = lane; i < cols; i += 32) d[i] = p[i] * (d[i] - mean);
  }
}

#endif

template <class R>
void softmax([[maybe_unused]] const Exec& exec, R* scores, int64_t rows, int64_t cols) {
#ifdef ELBO_HAS_CUDA
  if constexpr (kHasDeviceCode<R>) {
    if (exec.on_cuda()) {
      return gpu::launch(softmax_kernel, cuda::blocks_for(rows * 32), cuda::kBlock, 0,
                         gpu::overlapping(exec), scores, rows, cols);
    }
  }
#endif
  cpu::parallel_ranges(
      rows, [&](int64_t begin, int64_t end) { softmax_range(scores, cols, begin, end); }, cols);
}

template <class R>
void softmax_backward([[maybe_unused]] const Exec& exec, const R* p, R* gradients, int64_t rows,
                      int64_t cols) {
#ifdef ELBO_HAS_CUDA
  if constexpr (kHasDeviceCode<R>) {
    if (exec.on_cuda()) {
      return gpu::launch(softmax_backward_kernel, cuda::blocks_for(rows * 32), cuda::kBlock, 0,
                         gpu::overlapping(exec), p, gradients, rows, cols);
    }
  }
#endif
  cpu::parallel_ranges(
      rows,
      [&](int64_t begin, int64_t end) { softmax_backward_range(p, gradients, cols, begin, end); },
      cols);
}

// The products of a layer, each of which takes one of its operands as [N, C] or [N, N] rows, or
// transposed.
struct Shapes {
  int64_t batch, positions, channels;

  // c [N, N] = alpha a b^T of a, b [N, C]
  template <class T>
  BatchedProduct<T, T, Compute<T>> scores(const T* a, const T* b, Compute<T>* c,
                                          Compute<T> alpha) const {
    const int64_t n = positions, d = channels;
    return {batch, n, n, d, a, n * d, d, 1, b, n * d, 1, d, c, alpha, GradMode::write};
  }
  // c [N, C] = alpha w x or alpha w^T x of w [N, N], x [N, C]
  template <class T>
  BatchedProduct<Compute<T>, T, T> weighted(const Compute<T>* w, bool transposed, const T* x, T* c,
                                            Compute<T> alpha, GradMode mode) const {
    const int64_t n = positions, d = channels;
    const int64_t w_row = transposed ? 1 : n, w_col = transposed ? n : 1;
    return {batch, n, d, n, w, n * n, w_row, w_col, x, n * d, d, 1, c, alpha, mode};
  }
};

template <class R>
R score_scale(int64_t channels) {
  ELBO_CHECK(channels > 0, "attention: no channels to compare");
  return R(1) / math::sqrt(static_cast<R>(channels));
}

}  // namespace

template <class T>
void attention_forward(const Exec& exec, const AttentionForward<T>& args) {
  using R = Compute<T>;
  if (args.batch <= 0 || args.positions <= 0) return;
  const R scale = score_scale<R>(args.channels);
  ELBO_CHECK(args.q && args.k && args.v && args.p && args.y, "attention_forward: null operand");
  const Shapes shapes{args.batch, args.positions, args.channels};
  batched_product(exec, shapes.scores(args.q, args.k, args.p, scale));
  softmax(exec, args.p, args.batch * args.positions, args.positions);
  const R* p = args.p;
  batched_product(exec, shapes.weighted(p, false, args.v, args.y, R(1), GradMode::write));
}

template <class T>
void attention_backward(const Exec& exec, const AttentionBackward<T>& args) {
  using R = Compute<T>;
  if (args.batch <= 0 || args.positions <= 0) return;
  const R scale = score_scale<R>(args.channels);
  ELBO_CHECK(args.q && args.k && args.v && args.dy && args.p && args.work,
             "attention_backward: null operand");
  const Shapes shapes{args.batch, args.positions, args.channels};
  if (args.dq || args.dk) {
    batched_product(exec, shapes.scores(args.dy, args.v, args.work, R(1)));
    softmax_backward(exec, args.p, args.work, args.batch * args.positions, args.positions);
  }
  const R* ds = args.work;
  if (args.dq) {
    batched_product(exec, shapes.weighted(ds, false, args.k, args.dq, scale, args.dq_mode));
  }
  if (args.dk) {
    batched_product(exec, shapes.weighted(ds, true, args.q, args.dk, scale, args.dk_mode));
  }
  if (args.dv) {
    batched_product(exec, shapes.weighted(args.p, true, args.dy, args.dv, R(1), args.dv_mode));
  }
}

#define ELBO_INSTANTIATE(T)                                                 \
  template void attention_forward(const Exec&, const AttentionForward<T>&); \
  template void attention_backward(const Exec&, const AttentionBackward<T>&);
ELBO_INSTANTIATE(float)
ELBO_INSTANTIATE(bf16)
ELBO_INSTANTIATE(double)
#undef ELBO_INSTANTIATE

}  // namespace elbo
