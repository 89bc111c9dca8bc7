#include "kernels/softmax.h"

#include <algorithm>

#include "kernels/error.h"
#include "kernels/launch.h"
#include "kernels/launch_cells.h"
#include "kernels/math.h"

namespace elbo {
namespace {

// Both devices share the shape of the work: the logsumexp of a row, then F::row(row, lse) once,
// then F::cell(row, col, lse) for every column if F wants cells.

template <class R>
ELBO_HD R negative_infinity() {
  return -static_cast<R>(__builtin_inf());
}

// What is taken out of the exponents: the row's maximum m if it is finite, else nothing, because
// inf - inf would make NaN of a sum that is well defined.
template <class R>
ELBO_HD R shift_of(R m) {
  return m - m == R(0) ? m : R(0);
}

template <class T>
struct LogSumExpForward {
  static constexpr bool kCells = false;
  Compute<T>* y;

  ELBO_HD void row(int64_t row, Compute<T> lse) const { y[row] = lse; }
  ELBO_HD void cell(int64_t, int64_t, Compute<T>) const {}
};

template <class T>
struct LogSumExpBackward {
  const T* x;
  const Compute<T>* y;
  const Compute<T>* dy;
  T* dx;
  int64_t cols;
  GradMode mode;

  ELBO_HD void operator()(int64_t row, int64_t col) const {
    const int64_t i = row * cols + col;
    const Compute<T> grad = dy[row] * math::exp(to_float(x[i]) - y[row]);
    dx[i] = from_float<T>(mode == GradMode::add ? to_float(dx[i]) + grad : grad);
  }
};

template <class T, bool Grad>
struct CrossEntropy {
  static constexpr bool kCells = Grad;
  using R = Compute<T>;
  SoftmaxCrossEntropy<T> args;

  ELBO_HD bool is_valid(int32_t label) const { return label >= 0 && label < args.cols; }

  ELBO_HD void row(int64_t row, R lse) const {
    if (!args.loss) return;
    const int32_t label = args.labels[row];
    args.loss[row] = is_valid(label) ? lse - to_float(args.logits[row * args.cols + label])
                                     : static_cast<R>(__builtin_nan(""));
  }

  ELBO_HD void cell(int64_t row, int64_t col, R lse) const {
    const int32_t label = args.labels[row];
    const int64_t i = row * args.cols + col;
    const R hot = is_valid(label) ? R(col == label) : static_cast<R>(__builtin_nan(""));
    const R grad = args.weight.at(row) * (math::exp(to_float(args.logits[i]) - lse) - hot);
    T& out = args.dlogits[i];
    out = from_float<T>(args.mode == GradMode::add ? to_float(out) + grad : grad);
  }
};

template <class T>
ELBO_HD Compute<T> row_max(const T* x, int64_t cols) {
  using R = Compute<T>;
  R largest = negative_infinity<R>();
#pragma omp simd reduction(max : largest)
  for (int64_t col = 0; col < cols; ++col) {
    const R v = to_float(x[col]);
    largest = v > largest ? v : largest;  // a NaN is passed over here and found by the sum
  }
  return largest;
}

template <class T>
ELBO_HD Compute<T> row_sum_exp(const T* x, int64_t cols, Compute<T> shift) {
  using R = Compute<T>;
  R lanes[1][cpu::kLanes] = {}, sum[1];
  const int64_t whole = cols - cols % cpu::kLanes;
  for (int64_t block = 0; block < whole; block += cpu::kLanes) {
#pragma omp simd
    for (int lane = 0; lane < cpu::kLanes; ++lane) {
      lanes[0][lane] += math::exp(to_float(x[block + lane]) - shift);
    }
  }
  for (int64_t col = whole; col < cols; ++col) {
    lanes[0][col - whole] += math::exp(to_float(x[col]) - shift);
  }
  cpu::fold_lanes(lanes, sum);
  return sum[0];
}

template <class F, class T>
ELBO_CLONES void softmax_rows_range(F f, const T* x, int64_t cols, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const Compute<T> shift = shift_of(row_max(x + row * cols, cols));
    const Compute<T> lse = shift + math::log(row_sum_exp(x + row * cols, cols, shift));
    f.row(row, lse);
    if constexpr (F::kCells) {
#pragma omp simd
      for (int64_t col = 0; col < cols; ++col) f.cell(row, col, lse);
    }
  }
}

#ifdef ELBO_HAS_CUDA

// One warp owns one row (striding over rows); lane l takes columns l, l + 32, ... The loop over
// rows is uniform across a warp, so all 32 lanes meet in the shuffles. Traffic: the row from memory
// once, then from L1. Hazard: dlogits may be logits; lane 0 reads the label's logit in f.row before
// any lane writes a cell, hence the __syncwarp.
template <class F, class T>
__global__ void __launch_bounds__(cuda::kBlock)
    softmax_rows_kernel(F f, const T* x, int64_t rows, int64_t cols) {
  const int lane = threadIdx.x % 32;
  const int64_t warp = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / 32;
  const int64_t warps = int64_t{gridDim.x} * blockDim.x / 32;
  for (int64_t row = warp; row < rows; row += warps) {
    const T* xs = x + row * cols;
    float largest = negative_infinity<float>();
    for (int64_t col = lane; col < cols; col += 32) {
      const float v = to_float(xs[col]);
      largest = v > largest ? v : largest;
    }
    for (int distance = 16; distance > 0; distance /= 2) {
      const float other = __shfl_xor_sync(0xffffffffu, largest, distance);
      largest = other > largest ? other : largest;
    }
    const float shift = shift_of(largest);
    float sum = 0.0f;
    for (int64_t col = lane; col < cols; col += 32) sum += math::exp(to_float(xs[col]) - shift);
    const float lse = shift + math::log(gpu::warp_sum(sum));
    if (lane == 0) f.row(row, lse);
    if constexpr (F::kCells) {
      __syncwarp();
      for (int64_t col = lane; col < cols; col += 32) f.cell(row, col, lse);
    }
  }
}

#endif

template <class F, class T>
void softmax_rows([[maybe_unused]] const Exec& exec, int64_t rows, int64_t cols, const T* x, F f) {
  if (rows == 0) return;
#ifdef ELBO_HAS_CUDA
  if constexpr (kHasDeviceCode<T>) {
    if (exec.on_cuda()) {
      gpu::launch(softmax_rows_kernel<F, T>, cuda::blocks_for(rows * 32), cuda::kBlock, 0,
                  exec.stream, f, x, rows, cols);
      return;
    }
  }
#endif
  cpu::parallel_ranges(
      rows, [&](int64_t begin, int64_t end) { softmax_rows_range(f, x, cols, begin, end); },
      std::max<int64_t>(cols, 1));
}

}  // namespace

template <class T>
void logsumexp_forward(const Exec& exec, int64_t rows, int64_t cols, const T* x, Compute<T>* y) {
  ELBO_CHECK((x || rows * cols == 0) && (y || rows == 0), "logsumexp_forward: ", y ? "x" : "y",
             " is null");
  softmax_rows(exec, rows, cols, x, LogSumExpForward<T>{y});
}

template <class T>
void logsumexp_backward(const Exec& exec, int64_t rows, int64_t cols, const T* x,
                        const Compute<T>* y, const Compute<T>* dy, T* dx, GradMode mode) {
  ELBO_CHECK((x && y && dy && dx) || rows * cols == 0, "logsumexp_backward: a pointer is null");
  for_each_cell<T>(exec, rows, cols, LogSumExpBackward<T>{x, y, dy, dx, cols, mode});
}

template <class T>
void softmax_cross_entropy(const Exec& exec, const SoftmaxCrossEntropy<T>& args) {
  if (args.rows == 0) return;
  ELBO_CHECK((args.logits || args.cols == 0) && args.labels,
             "softmax_cross_entropy: ", args.labels ? "logits" : "labels", " is null");
  ELBO_CHECK(args.loss || args.dlogits, "softmax_cross_entropy: neither loss nor dlogits is given");
  if (args.dlogits) {
    ELBO_CHECK(args.weight.values, "softmax_cross_entropy: dlogits without weights");
    softmax_rows(exec, args.rows, args.cols, args.logits, CrossEntropy<T, true>{args});
  } else {
    softmax_rows(exec, args.rows, args.cols, args.logits, CrossEntropy<T, false>{args});
  }
}

#define ELBO_INSTANTIATE(T)                                                                    \
  template void logsumexp_forward(const Exec&, int64_t, int64_t, const T*, Compute<T>*);       \
  template void logsumexp_backward(const Exec&, int64_t, int64_t, const T*, const Compute<T>*, \
                                   const Compute<T>*, T*, GradMode);                           \
  template void softmax_cross_entropy(const Exec&, const SoftmaxCrossEntropy<T>&);
ELBO_INSTANTIATE(float)
ELBO_INSTANTIATE(bf16)
ELBO_INSTANTIATE(double)
#undef ELBO_INSTANTIATE

}  // namespace elbo
