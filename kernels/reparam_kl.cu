#include "kernels/reparam_kl.h"

#include <algorithm>
#include <cstdint>

#include "kernels/error.h"
#include "kernels/launch.h"
#include "kernels/reparam_kl_element.h"
#ifdef ELBO_HAS_CUDA
#include "kernels/reparam_kl.cuh"
#endif

namespace elbo {
namespace {

constexpr int64_t kQuad = 4;  // normals of one Philox call

// Normals drawn together on the CPU: 4 KB on the stack, and for the usual 20 latents 51 rows, so
// that the vector loop over quads is long even where a row has only five.
constexpr int64_t kTileNormals = 1024;

// A part of the noise matrix: whole rows where they are short, a piece of one row where it is long.
struct NoiseTile {
  int64_t row, rows, col, width;

  ELBO_HD int64_t quads() const { return (width + kQuad - 1) / kQuad; }
  ELBO_HD int64_t pitch() const { return quads() * kQuad; }
};

// eps[r * pitch + c] for row r and column c of the tile. The addresses are listed first, because
// dividing the flat index inside the vector loop would cost more than Philox.
ELBO_HD void draw_tile(const NoiseSource& noise, uint64_t step, const NoiseTile& tile, float* eps) {
  uint32_t row_of[kTileNormals / kQuad], quad_of[kTileNormals / kQuad];
  const int64_t quads = tile.quads();
  for (int64_t r = 0, i = 0; r < tile.rows; ++r) {
    for (int64_t q = 0; q < quads; ++q, ++i) {
      row_of[i] = static_cast<uint32_t>(tile.row + r);
      quad_of[i] = static_cast<uint32_t>(tile.col / kQuad + q);
    }
  }
  const NoiseKey key = noise.key();
  const int64_t count = tile.rows * quads;
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    const Four four = normal4(key, noise.address(row_of[i], step), quad_of[i]);
    eps[kQuad * i] = four.v0;
    eps[kQuad * i + 1] = four.v1;
    eps[kQuad * i + 2] = four.v2;
    eps[kQuad * i + 3] = four.v3;
  }
}

// Calls op(row, col, width, eps) for the pieces of each row from left to right. A row of several
// pieces is done before the next one starts; a row of no elements is one empty piece.
template <class Op>
ELBO_CLONES void noisy_rows(Op op, NoiseSource noise, int64_t dim, int64_t begin, int64_t end) {
  float eps[kTileNormals];
  const uint64_t step = noise.step();
  const int64_t row_pitch = (dim + kQuad - 1) / kQuad * kQuad;
  const int64_t tile_rows = std::max<int64_t>(kTileNormals / std::max<int64_t>(row_pitch, 1), 1);
  for (int64_t row = begin; row < end; row += tile_rows) {
    const int64_t rows = std::min(tile_rows, end - row);
    int64_t col = 0;
    do {
      const NoiseTile tile{row, rows, col, std::min(kTileNormals, dim - col)};
      draw_tile(noise, step, tile, eps);
      for (int64_t r = 0; r < rows; ++r) op(row + r, col, tile.width, eps + r * tile.pitch());
      col += kTileNormals;
    } while (col < dim);
  }
}

template <class Op>
void for_noisy_rows(const NoiseSource& noise, int64_t rows, int64_t dim, const Op& op) {
  // Drawing a normal costs about as much as ten plain elements.
  cpu::parallel_ranges(
      rows, [&](int64_t begin, int64_t end) { noisy_rows(op, noise, dim, begin, end); }, 10 * dim);
}

template <class T>
struct ForwardRow {
  using R = Compute<T>;
  ReparamKlForward<T> args;
  R lanes[cpu::kLanes];  // partial sums of the row in hand, element d in lane d % kLanes

  ELBO_HD void operator()(int64_t row, int64_t col, int64_t width, const float* eps) {
    const T* mu = args.mu + row * args.row_stride + col;
    const T* logvar = args.logvar + row * args.row_stride + col;
    T* z = args.z + row * args.dim + col;
    R kl[kTileNormals];
#pragma omp simd
    for (int64_t d = 0; d < width; ++d) {
      const ReparamElement<R> e = reparam_element<R>(to_float(mu[d]), to_float(logvar[d]), eps[d]);
      z[d] = from_float<T>(e.z);
      kl[d] = e.kl;
    }
    if (args.kl) add_to_row(row, col, width, kl);
  }

  ELBO_HD void add_to_row(int64_t row, int64_t col, int64_t width, const R* kl) {
    if (col == 0) {
      for (R& lane : lanes) lane = R{0};
    }
    for (int64_t block = 0; block < width; block += cpu::kLanes) {
      const int count = static_cast<int>(std::min<int64_t>(cpu::kLanes, width - block));
      for (int lane = 0; lane < count; ++lane) lanes[lane] += kl[block + lane];
    }
    if (col + width < args.dim) return;
    for (int half = cpu::kLanes / 2; half > 0; half /= 2) {
      for (int lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
    }
    args.kl[row] = lanes[0];
  }
};

template <class T>
struct BackwardRow {
  using R = Compute<T>;
  ReparamKlBackward<T> args;

  ELBO_HD void operator()(int64_t row, int64_t col, int64_t width, const float* eps) const {
    const T* mu = args.mu + row * args.row_stride + col;
    const T* logvar = args.logvar + row * args.row_stride + col;
    const T* dz = args.dz ? args.dz + row * args.dim + col : nullptr;
    T* dmu = args.dmu + row * args.grad_row_stride + col;
    T* dlogvar = args.dlogvar + row * args.grad_row_stride + col;
    const R weight = args.dkl.values ? args.dkl.at(row) : R{0};
    const bool add = args.mode == GradMode::add;
#pragma omp simd
    for (int64_t d = 0; d < width; ++d) {
      const ReparamGradient<R> g = reparam_gradient<R>(to_float(mu[d]), to_float(logvar[d]), eps[d],
                                                       dz ? to_float(dz[d]) : R{0}, weight);
      dmu[d] = from_float<T>(add ? to_float(dmu[d]) + g.dmu : g.dmu);
      dlogvar[d] = from_float<T>(add ? to_float(dlogvar[d]) + g.dlogvar : g.dlogvar);
    }
  }
};

template <class T>
struct NoiseRow {
  T* out;
  int64_t dim;

  ELBO_HD void operator()(int64_t row, int64_t col, int64_t width, const float* eps) const {
    T* y = out + row * dim + col;
#pragma omp simd
    for (int64_t d = 0; d < width; ++d) y[d] = from_float<T>(eps[d]);
  }
};

template <class T>
void check_rows(const char* op, const T* mu, const T* logvar, int64_t row_stride, int64_t dim) {
  ELBO_CHECK(mu && logvar, op, ": ", mu ? "logvar" : "mu", " is null");
  ELBO_CHECK(row_stride >= dim, op, ": rows of ", dim, " elements are ", row_stride,
             " apart; the stride must be at least the length");
}

}  // namespace

template <class T>
void reparam_kl_forward([[maybe_unused]] const Exec& exec, const ReparamKlForward<T>& args) {
  if (args.batch <= 0) return;
  if (args.dim > 0) {
    check_rows("reparam_kl_forward", args.mu, args.logvar, args.row_stride, args.dim);
    ELBO_CHECK(args.z, "reparam_kl_forward: z is null");
  }
#ifdef ELBO_HAS_CUDA
  if constexpr (kHasDeviceCode<T>) {
    if (exec.on_cuda()) return cuda::reparam_kl_forward(exec, args);
  }
#endif
  for_noisy_rows(args.noise, args.batch, args.dim, ForwardRow<T>{args, {}});
}

template <class T>
void reparam_kl_backward([[maybe_unused]] const Exec& exec, const ReparamKlBackward<T>& args) {
  if (args.batch <= 0 || args.dim <= 0) return;
  check_rows("reparam_kl_backward", args.mu, args.logvar, args.row_stride, args.dim);
  check_rows("reparam_kl_backward (gradients)", args.dmu, args.dlogvar, args.grad_row_stride,
             args.dim);
#ifdef ELBO_HAS_CUDA
  if constexpr (kHasDeviceCode<T>) {
    if (exec.on_cuda()) return cuda::reparam_kl_backward(exec, args);
  }
#endif
  for_noisy_rows(args.noise, args.batch, args.dim, BackwardRow<T>{args});
}

template <class T>
void gaussian_noise([[maybe_unused]] const Exec& exec, T* out, int64_t rows, int64_t dim,
                    const NoiseSource& noise) {
  if (rows <= 0 || dim <= 0) return;
  ELBO_CHECK(out, "gaussian_noise: out is null");
#ifdef ELBO_HAS_CUDA
  if constexpr (kHasDeviceCode<T>) {
    if (exec.on_cuda()) return cuda::gaussian_noise(exec, out, rows, dim, noise);
  }
#endif
  for_noisy_rows(noise, rows, dim, NoiseRow<T>{out, dim});
}

#define ELBO_INSTANTIATE(T)                                                    \
  template void reparam_kl_forward(const Exec&, const ReparamKlForward<T>&);   \
  template void reparam_kl_backward(const Exec&, const ReparamKlBackward<T>&); \
  template void gaussian_noise(const Exec&, T*, int64_t, int64_t, const NoiseSource&);
ELBO_INSTANTIATE(float)
ELBO_INSTANTIATE(bf16)
ELBO_INSTANTIATE(double)
#undef ELBO_INSTANTIATE

}  // namespace elbo
