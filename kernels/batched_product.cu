#include "kernels/batched_product.h"

#include <algorithm>

#include "kernels/error.h"
#include "kernels/launch.h"
#include "kernels/math.h"

namespace elbo {
namespace {

constexpr int64_t kBlockRows = 64;    // rows of c that one CPU work item sums
constexpr int64_t kTileRows = 4;      // of them in registers at a time
constexpr int64_t kTileCols = 32;     // two AVX-512 registers
constexpr int64_t kPanelDepth = 128;  // k steps per panel of b: 16 KiB, half an L1 cache

// Columns past the edge are packed as zeros, so that tiles always have their full width.
template <class TB, class R>
ELBO_HD void pack_panel(const TB* b, int64_t b_row, int64_t b_col, int64_t depth, int64_t width,
                        R* panel) {
  for (int64_t k = 0; k < depth; ++k) {
    for (int64_t s = 0; s < kTileCols; ++s) {
      panel[k * kTileCols + s] = s < width ? to_float(b[k * b_row + s * b_col]) : R(0);
    }
  }
}

template <int64_t Rows, class TA, class R>
ELBO_HD void multiply_tile(const TA* a, int64_t a_row, int64_t a_col, const R* panel, int64_t depth,
                           R* sums) {
  R tile[Rows][kTileCols];
  for (int64_t r = 0; r < Rows; ++r) {
    for (int64_t s = 0; s < kTileCols; ++s) tile[r][s] = sums[r * kTileCols + s];
  }
  for (int64_t k = 0; k < depth; ++k) {
    for (int64_t r = 0; r < Rows; ++r) {
      const R factor = to_float(a[r * a_row + k * a_col]);
#pragma omp simd
      for (int64_t s = 0; s < kTileCols; ++s) {
        tile[r][s] = math::fma(factor, panel[k * kTileCols + s], tile[r][s]);
      }
    }
  }
  for (int64_t r = 0; r < Rows; ++r) {
    for (int64_t s = 0; s < kTileCols; ++s) sums[r * kTileCols + s] = tile[r][s];
  }
}

// kBlockRows x kTileCols elements of one matrix of c.
template <class TA, class TB, class TC>
ELBO_CLONES void multiply_block(BatchedProduct<TA, TB, TC> p, int64_t matrix, int64_t row0,
                                int64_t col0) {
  using R = Compute<TC>;
  const int64_t rows = std::min(kBlockRows, p.rows - row0);
  const int64_t cols = std::min(kTileCols, p.cols - col0);
  alignas(64) R panel[kPanelDepth * kTileCols];
  alignas(64) R sums[kBlockRows * kTileCols] = {};
  for (int64_t k0 = 0; k0 < p.inner; k0 += kPanelDepth) {
    const int64_t depth = std::min(kPanelDepth, p.inner - k0);
    pack_panel(p.b + matrix * p.b_batch + k0 * p.b_row + col0 * p.b_col, p.b_row, p.b_col, depth,
               cols, panel);
    const TA* a = p.a + matrix * p.a_batch + row0 * p.a_row + k0 * p.a_col;
    int64_t r = 0;
    for (; r + kTileRows <= rows; r += kTileRows) {
      multiply_tile<kTileRows>(a + r * p.a_row, p.a_row, p.a_col, panel, depth,
                               sums + r * kTileCols);
    }
    for (; r < rows; ++r) {
      multiply_tile<1>(a + r * p.a_row, p.a_row, p.a_col, panel, depth, sums + r * kTileCols);
    }
  }
  for (int64_t r = 0; r < rows; ++r) {
    TC* c = p.c + (matrix * p.rows + row0 + r) * p.cols + col0;
    for (int64_t s = 0; s < cols; ++s) {
      const R value = p.alpha * sums[r * kTileCols + s];
      c[s] = from_float<TC>(p.mode == GradMode::add ? to_float(c[s]) + value : value);
    }
  }
}

template <class TA, class TB, class TC>
void multiply_on_cpu(const BatchedProduct<TA, TB, TC>& p) {
  const int64_t down = (p.rows + kBlockRows - 1) / kBlockRows;
  const int64_t across = (p.cols + kTileCols - 1) / kTileCols;
  cpu::parallel_ranges(
      p.batch * down * across,
      [&](int64_t begin, int64_t end) {
        for (int64_t item = begin; item < end; ++item) {
          multiply_block(p, item / across / down, item / across % down * kBlockRows,
                         item % across * kTileCols);
        }
      },
      kBlockRows * kTileCols * std::max<int64_t>(p.inner, 1));
}

#ifdef ELBO_HAS_CUDA

constexpr int kTile = 64;   // rows and columns of c per block
constexpr int kDepth = 16;  // k steps in shared memory at a time
constexpr int kPerThread = 4;

// A tile of an operand into shared memory as [k][line], zeros past the edges. Neighbouring threads
// read along the stride of 1, whichever that is.
template <class T>
__device__ void load_tile(float (*tile)[kTile + 4], const T* from, int64_t line_stride,
                          int64_t k_stride, int64_t lines, int64_t depth) {
  for (int i = threadIdx.x; i < kTile * kDepth; i += cuda::kBlock) {
    const int k = k_stride == 1 ? i % kDepth : i / kTile;
    const int line = k_stride == 1 ? i / kDepth : i % kTile;
    tile[k][line] =
        line < lines && k < depth ? to_float(from[line * line_stride + k * k_stride]) : 0.0f;
  }
}

// A block owns 64 x 64 elements of one matrix of c, thread (x, y) of 16 x 16 rows y, y + 16, ... and
// columns x, x + 16, ... of them. Traffic: every element of a is read cols / 64 times, of b rows / 64
// times. Two barriers per 16 steps of k; the loop is uniform across the block.
template <class TA, class TB, class TC>
__global__ void __launch_bounds__(cuda::kBlock)
    batched_product_kernel(BatchedProduct<TA, TB, TC> p) {
  gpu::wait_for_previous();
  __shared__ float a_tile[kDepth][kTile + 4], b_tile[kDepth][kTile + 4];
  const int x = threadIdx.x % 16, y = threadIdx.x / 16;
  const int64_t row0 = int64_t{blockIdx.y} * kTile, col0 = int64_t{blockIdx.x} * kTile;
  const TA* a = p.a + blockIdx.z * p.a_batch + row0 * p.a_row;
  const TB* b = p.b + blockIdx.z * p.b_batch + col0 * p.b_col;
  float sums[kPerThread][kPerThread] = {};
  for (int64_t k0 = 0; k0 < p.inner; k0 += kDepth) {
    load_tile(a_tile, a + k0 * p.a_col, p.a_row, p.a_col, p.rows - row0, p.inner - k0);
    load_tile(b_tile, b + k0 * p.b_row, p.b_col, p.b_row, p.cols - col0, p.inner - k0);
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kDepth; ++k) {
#pragma unroll
      for (int r = 0; r < kPerThread; ++r) {
#pragma unroll
        for (int s = 0; s < kPerThread; ++s) {
          sums[r][s] = math::fma(a_tile[k][y + 16 * r], b_tile[k][x + 16 * s], sums[r][s]);
        }
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int r = 0; r < kPerThread; ++r) {
#pragma unroll
    for (int s = 0; s < kPerThread; ++s) {
      const int64_t row = row0 + y + 16 * r, col = col0 + x + 16 * s;
      if (row >= p.rows || col >= p.cols) continue;
      TC& c = p.c[(blockIdx.z * p.rows + row) * p.cols + col];
      const float value = p.alpha * sums[r][s];
      c = from_float<TC>(p.mode == GradMode::add ? to_float(c) + value : value);
    }
  }
}

template <class TA, class TB, class TC>
void multiply_on_cuda(const Exec& exec, const BatchedProduct<TA, TB, TC>& p) {
  ELBO_CHECK(p.batch <= 65535 && p.rows <= int64_t{65535} * kTile, "batched_product: ", p.batch,
             " matrices of ", p.rows, " rows are more than one launch takes");
  const dim3 grid(static_cast<unsigned>((p.cols + kTile - 1) / kTile),
                  static_cast<unsigned>((p.rows + kTile - 1) / kTile),
                  static_cast<unsigned>(p.batch));
  gpu::launch(batched_product_kernel<TA, TB, TC>, grid, cuda::kBlock, 0, gpu::overlapping(exec), p);
}

#endif

}  // namespace

template <class TA, class TB, class TC>
void batched_product([[maybe_unused]] const Exec& exec, const BatchedProduct<TA, TB, TC>& args) {
  if (args.batch * args.rows * args.cols == 0) return;
  ELBO_CHECK(args.c && (args.inner == 0 || (args.a && args.b)), "batched_product: null operand");
#ifdef ELBO_HAS_CUDA
  if constexpr (kHasDeviceCode<TC>) {
    if (exec.on_cuda()) return multiply_on_cuda(exec, args);
  }
#endif
  multiply_on_cpu(args);
}

template void batched_product(const Exec&, const BatchedProduct<float, float, float>&);
template void batched_product(const Exec&, const BatchedProduct<bf16, bf16, float>&);
template void batched_product(const Exec&, const BatchedProduct<float, bf16, bf16>&);
template void batched_product(const Exec&, const BatchedProduct<double, double, double>&);

}  // namespace elbo
