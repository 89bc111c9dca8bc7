// Plain products in double: the oracle of tests and of gradient checks.
//
// multiply() packs a panel of B (kInnerBlock x kTileCols) that stays in the L1 cache and runs a
// kTileRows x kTileCols tile of C over it, held in registers. Every element of C is one sum over
// `inner` in order, cut at multiples of kInnerBlock; threads split C, never a sum, so the bits do not
// depend on their number.
#include "kernels/activation_op.h"
#include "kernels/linear_backends.h"
#include "kernels/parallel.h"
#include "kernels/portability.h"

namespace elbo::reference {
namespace {

constexpr int64_t kTileRows = 4;
constexpr int64_t kTileCols = 32;     // four AVX-512 registers
constexpr int64_t kInnerBlock = 128;  // a panel of 32 KiB: an L1 cache

// Columns past the edge are packed as zeros, so that the tile always has its full width.
template <class T>
void pack_panel(const Product<T>& p, int64_t k0, int64_t depth, int64_t col0, T* panel) {
  for (int64_t k = 0; k < depth; ++k) {
    const T* row = p.b + (k0 + k) * p.b_row + col0 * p.b_col;
    for (int64_t j = 0; j < kTileCols; ++j) {
      panel[k * kTileCols + j] = col0 + j < p.cols ? row[j * p.b_col] : T(0);
    }
  }
}

template <class T, int64_t Rows>
ELBO_HD void multiply_tile(const T* a, int64_t a_row, int64_t a_col, const T* panel, int64_t depth,
                           T (&tile)[kTileRows][kTileCols]) {
  T sums[Rows][kTileCols] = {};
  for (int64_t k = 0; k < depth; ++k) {
    for (int64_t r = 0; r < Rows; ++r) {
      const T factor = a[r * a_row + k * a_col];
#pragma omp simd
      for (int64_t j = 0; j < kTileCols; ++j) sums[r][j] += factor * panel[k * kTileCols + j];
    }
  }
  for (int64_t r = 0; r < Rows; ++r) {
    for (int64_t j = 0; j < kTileCols; ++j) tile[r][j] = sums[r][j];
  }
}

template <class T>
ELBO_HD void store_tile(const Product<T>& p, const T (&tile)[kTileRows][kTileCols], int64_t row0,
                        int64_t rows, int64_t col0, bool add) {
  const int64_t width = p.cols - col0 < kTileCols ? p.cols - col0 : kTileCols;
  for (int64_t r = 0; r < rows; ++r) {
    T* c = p.c + (row0 + r) * p.cols + col0;
    for (int64_t j = 0; j < width; ++j) c[j] = add ? c[j] + tile[r][j] : tile[r][j];
  }
}

// The strip of columns [col0, col0 + kTileCols) of C, all rows.
template <class T>
ELBO_CLONES void multiply_strip(Product<T> p, int64_t col0) {
  alignas(64) T panel[kInnerBlock * kTileCols];
  for (int64_t k0 = 0; k0 < p.inner; k0 += kInnerBlock) {
    const int64_t depth = p.inner - k0 < kInnerBlock ? p.inner - k0 : kInnerBlock;
    const bool add = k0 > 0 || p.mode == GradMode::add;
    pack_panel(p, k0, depth, col0, panel);
    T tile[kTileRows][kTileCols];
    int64_t row = 0;
    for (; row + kTileRows <= p.rows; row += kTileRows) {
      multiply_tile<T, kTileRows>(p.a + row * p.a_row + k0 * p.a_col, p.a_row, p.a_col, panel,
                                  depth, tile);
      store_tile(p, tile, row, kTileRows, col0, add);
    }
    for (; row < p.rows; ++row) {
      multiply_tile<T, 1>(p.a + row * p.a_row + k0 * p.a_col, p.a_row, p.a_col, panel, depth, tile);
      store_tile(p, tile, row, 1, col0, add);
    }
  }
}

}  // namespace

template <class T>
void multiply(const Product<T>& product) {
  const int64_t strips = (product.cols + kTileCols - 1) / kTileCols;
  cpu::parallel_ranges(
      strips,
      [&](int64_t begin, int64_t end) {
        for (int64_t strip = begin; strip < end; ++strip)
          multiply_strip(product, strip * kTileCols);
      },
      product.rows * product.inner * kTileCols);
}

template <class T>
void linear_forward(const Exec& exec, const BasicLinearForward<T>& args) {
  multiply(forward_product(args, args.y));
  void* pre = needs_pre_activation(args.activation) ? args.aux : nullptr;
  bias_activation_forward(exec, BasicBiasActivation<T>{.activation = args.activation,
                                                       .batch = args.batch,
                                                       .dim = args.out,
                                                       .bias = args.bias,
                                                       .y = args.y,
                                                       .aux = pre});
}

template <class T>
void linear_backward_data(const Exec& exec, const BasicLinearBackwardData<T>& args) {
  multiply(backward_data_product(args));
  undo_input_activation(exec, args);
}

template <class T>
void linear_backward_weight(const Exec& exec, const BasicLinearBackwardWeight<T>& args) {
  multiply(backward_weight_product(args));
  bias_gradient(exec, args);
}

template void multiply(const Product<double>&);
template void linear_forward(const Exec&, const BasicLinearForward<double>&);
template void linear_backward_data(const Exec&, const BasicLinearBackwardData<double>&);
template void linear_backward_weight(const Exec&, const BasicLinearBackwardWeight<double>&);

}  // namespace elbo::reference
