// One more loop pattern beside those of kernels/launch.h: every cell of a matrix, for ops that copy
// or broadcast between matrices of different shape.
//
//   for_each_cell<T>(exec, rows, cols, f)     f(row, col), in no particular order
//
//   for_each_element<T>(exec, n, f)           f(i), as for_each()
//
// T is the storage type f works on; it decides only whether there is device code (double has none).
// Row and column are counted, not divided out of an index. On CUDA the 32 lanes of a warp take
// neighbouring columns, so that row-major accesses coalesce, and the 8 warps of a block take
// neighbouring rows, so that narrow matrices keep all warps busy.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/launch.h"

namespace elbo {
namespace cpu {

template <class F>
ELBO_CLONES void for_each_cell_range(F f, int64_t cols, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
#pragma omp simd
    for (int64_t col = 0; col < cols; ++col) f(row, col);
  }
}

}  // namespace cpu

#ifdef ELBO_HAS_CUDA
namespace cuda {

template <class F>
__global__ void __launch_bounds__(kBlock) for_each_cell_kernel(F f, int64_t rows, int64_t cols) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t row_stride = int64_t{gridDim.y} * (kBlock / 32);
  const int64_t col_stride = int64_t{gridDim.x} * 32;
  for (int64_t row = int64_t{blockIdx.y} * (kBlock / 32) + warp; row < rows; row += row_stride) {
    for (int64_t col = int64_t{blockIdx.x} * 32 + lane; col < cols; col += col_stride) f(row, col);
  }
}

template <class F>
void for_each_cell(const Exec& exec, int64_t rows, int64_t cols, F f) {
  // At most 64 blocks along a row: with 65535 along a column, far more than fill the device.
  const auto across = static_cast<unsigned>(std::min<int64_t>((cols + 31) / 32, 64));
  const auto down = static_cast<unsigned>(std::min<int64_t>((rows + 7) / 8, 65535));
  gpu::launch(for_each_cell_kernel<F>, dim3(across, down), kBlock, 0, exec.stream, f, rows, cols);
}

}  // namespace cuda
#endif

template <class T, class F>
void for_each_cell([[maybe_unused]] const Exec& exec, int64_t rows, int64_t cols, F f) {
  if (rows <= 0 || cols <= 0) return;
#ifdef ELBO_HAS_CUDA
  if constexpr (kHasDeviceCode<T>) {
    if (exec.on_cuda()) return cuda::for_each_cell(exec, rows, cols, f);
  }
#endif
  cpu::parallel_ranges(
      rows, [&](int64_t begin, int64_t end) { cpu::for_each_cell_range(f, cols, begin, end); },
      cols);
}

template <class T, class F>
void for_each_element(const Exec& exec, int64_t n, F f) {
  if constexpr (kHasDeviceCode<T>) {
    for_each(exec, n, f);
  } else if (n > 0) {
    cpu::for_each(n, f);
  }
}

}  // namespace elbo
