#include "kernels/vector_quantise.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/error.h"
#include "kernels/launch_cells.h"
#include "kernels/math.h"

namespace elbo {
namespace {

constexpr int kRows = 4;             // vectors that share each load of a code
constexpr int kLanes = cpu::kLanes;  // CPU: codes compared together

// One more dimension of a squared distance.
template <class R>
ELBO_HD R add_square(R sum, R x, R code) {
  const R off = x - code;
  return math::fma(off, off, sum);
}

template <class R>
ELBO_HD bool is_closer(R square, int32_t k, R best, int32_t best_k) {
  return square < best || (square == best && k < best_k);
}

// The codes that are nearest to kRows vectors, as far as codes have been looked at.
template <class R>
struct CpuCodes {
  NearestCodes<R> args;
  R best[kRows][kLanes];
  int32_t best_k[kRows][kLanes];

  ELBO_HD void start() {
    for (int r = 0; r < kRows; ++r) {
      for (int lane = 0; lane < kLanes; ++lane) {
        best[r][lane] = std::numeric_limits<R>::infinity();
        best_k[r][lane] = 0;
      }
    }
  }

  // Sixteen codes from k on.
  ELBO_HD void compare(const R* const (&x)[kRows], int64_t k) {
    R sums[kRows][kLanes] = {};
    const int64_t dim = args.dim, size = args.size;
    for (int64_t d = 0; d < dim; ++d) {
      const R* code = args.codes + d * size + k;
#ifndef __NVCC__      // which does not know the pragma
#pragma GCC unroll 4  // so that all sums stay in registers
#endif
      for (int r = 0; r < kRows; ++r) {
        const R value = x[r][d];
#pragma omp simd
        for (int lane = 0; lane < kLanes; ++lane) {
          sums[r][lane] = add_square(sums[r][lane], value, code[lane]);
        }
      }
    }
    for (int r = 0; r < kRows; ++r) {
#pragma omp simd
      for (int lane = 0; lane < kLanes; ++lane) {
        const bool closer = sums[r][lane] < best[r][lane];  // k only grows within a lane
        best_k[r][lane] = closer ? static_cast<int32_t>(k + lane) : best_k[r][lane];
        best[r][lane] = closer ? sums[r][lane] : best[r][lane];
      }
    }
  }

  // The codes that are left, one by one.
  ELBO_HD void compare_rest(const R* const (&x)[kRows], int64_t from) {
    for (int64_t k = from; k < args.size; ++k) {
      for (int r = 0; r < kRows; ++r) {
        R sum = 0;
        for (int64_t d = 0; d < args.dim; ++d) {
          sum = add_square(sum, x[r][d], args.codes[d * args.size + k]);
        }
        if (is_closer(sum, static_cast<int32_t>(k), best[r][0], best_k[r][0])) {
          best[r][0] = sum;
          best_k[r][0] = static_cast<int32_t>(k);
        }
      }
    }
  }

  ELBO_HD void finish(int r, int64_t row) {
    for (int lane = 1; lane < kLanes; ++lane) {
      if (!is_closer(best[r][lane], best_k[r][lane], best[r][0], best_k[r][0])) continue;
      best[r][0] = best[r][lane];
      best_k[r][0] = best_k[r][lane];
    }
    args.index[row] = best_k[r][0];
    args.squares[row] = best[r][0];
    for (int64_t d = 0; d < args.dim; ++d) {
      args.q[row * args.dim + d] = args.codes[d * args.size + best_k[r][0]];
    }
  }
};

template <class R>
ELBO_CLONES void nearest_range(const NearestCodes<R>& args, int64_t begin, int64_t end) {
  CpuCodes<R> work;
  work.args = args;
  const int64_t whole = args.size - args.size % kLanes;
  for (int64_t row = begin; row < end; row += kRows) {
    const R* x[kRows];
    for (int r = 0; r < kRows; ++r) x[r] = args.x + std::min(row + r, end - 1) * args.dim;
    work.start();
    for (int64_t k = 0; k < whole; k += kLanes) work.compare(x, k);
    work.compare_rest(x, whole);
    for (int r = 0; r < kRows && row + r < end; ++r) work.finish(r, row + r);
  }
}

#ifdef ELBO_HAS_CUDA

// One warp owns kRows vectors, striding over the batch; lane l looks at codes l, l + 32, ...
// Traffic: the codes from L2 once per kRows vectors, 128 bytes per warp and dimension; the vectors,
// which all lanes read at once, from L1. Behind the last vector a warp reads it again and writes
// nothing.
__global__ void __launch_bounds__(cuda::kBlock) nearest_codes_kernel(NearestCodes<float> args) {
  gpu::wait_for_previous();
  const int lane = threadIdx.x % 32;
  const int64_t stride = int64_t{gridDim.x} * (cuda::kBlock / 32) * kRows;
  const int64_t first = (int64_t{blockIdx.x} * (cuda::kBlock / 32) + threadIdx.x / 32) * kRows;
  for (int64_t row = first; row < args.rows; row += stride) {
    const float* x[kRows];
    float best[kRows];
    int32_t best_k[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      x[r] = args.x + (row + r < args.rows ? row + r : args.rows - 1) * args.dim;
      best[r] = INFINITY;
      best_k[r] = 0;
    }
    for (int64_t k = lane; k < args.size; k += 32) {
      float sums[kRows] = {};
      for (int64_t d = 0; d < args.dim; ++d) {
        const float code = args.codes[d * args.size + k];
#pragma unroll
        for (int r = 0; r < kRows; ++r) sums[r] = add_square(sums[r], x[r][d], code);
      }
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        if (!(sums[r] < best[r])) continue;
        best[r] = sums[r];
        best_k[r] = static_cast<int32_t>(k);
      }
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      for (int distance = 16; distance > 0; distance /= 2) {
        const float other = __shfl_xor_sync(0xffffffffu, best[r], distance);
        const int32_t other_k = __shfl_xor_sync(0xffffffffu, best_k[r], distance);
        const bool closer = is_closer(other, other_k, best[r], best_k[r]);
        best[r] = closer ? other : best[r];
        best_k[r] = closer ? other_k : best_k[r];
      }
      if (row + r >= args.rows) continue;  // the same for the whole warp
      if (lane == 0) {
        args.index[row + r] = best_k[r];
        args.squares[row + r] = best[r];
      }
      for (int64_t d = lane; d < args.dim; d += 32) {
        args.q[(row + r) * args.dim + d] = args.codes[d * args.size + best_k[r]];
      }
    }
  }
}

#endif

// A cell is an element of dx.
template <class T>
struct StraightThrough {
  NearestCodesBackward<T> args;

  ELBO_HD void operator()(int64_t row, int64_t d) const {
    const int64_t at = row * args.dim + d;
    T dx = args.dq ? args.dq[at] : T(0);
    if (args.dsquares) dx += T(2) * args.dsquares[row] * (args.x[at] - args.q[at]);
    put_gradient(args.dx[at], dx, args.mode);
  }
};

}  // namespace

void check_codebook_sizes(const char* op, int64_t rows, int64_t dim, int64_t size) {
  ELBO_CHECK(rows >= 0 && dim > 0 && size > 0 && size <= INT32_MAX, op, ": ", rows, " vectors of ",
             dim, " values and ", size, " codes");
}

template <class T>
void nearest_codes([[maybe_unused]] const Exec& exec, const NearestCodes<T>& args) {
  check_codebook_sizes("nearest_codes", args.rows, args.dim, args.size);
  if (args.rows == 0) return;
  ELBO_CHECK(args.x && args.codes && args.index && args.q && args.squares,
             "nearest_codes: null operand");
#ifdef ELBO_HAS_CUDA
  if constexpr (kHasDeviceCode<T>) {
    if (exec.on_cuda()) {
      const int64_t warps = (args.rows + kRows - 1) / kRows;
      return gpu::launch(nearest_codes_kernel, cuda::blocks_for(warps * 32), cuda::kBlock, 0,
                         gpu::overlapping(exec), args);
    }
  }
#endif
  cpu::parallel_ranges(
      args.rows, [&](int64_t begin, int64_t end) { nearest_range(args, begin, end); },
      args.dim * args.size);
}

template <class T>
void nearest_codes_backward(const Exec& exec, const NearestCodesBackward<T>& args) {
  if (args.rows == 0) return;
  ELBO_CHECK(args.dx && (!args.dsquares || (args.x && args.q)),
             "nearest_codes_backward: null operand");
  for_each_cell<T>(exec, args.rows, args.dim, StraightThrough<T>{args});
}

#define ELBO_INSTANTIATE(T)                                         \
  template void nearest_codes(const Exec&, const NearestCodes<T>&); \
  template void nearest_codes_backward(const Exec&, const NearestCodesBackward<T>&);
ELBO_INSTANTIATE(float)
ELBO_INSTANTIATE(double)
#undef ELBO_INSTANTIATE

}  // namespace elbo
