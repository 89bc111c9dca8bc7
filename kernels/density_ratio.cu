#include "kernels/density_ratio.h"

#include "kernels/error.h"
#include "kernels/launch_cells.h"
#include "kernels/math.h"
#include "kernels/shuffle.h"

namespace elbo {
namespace {

// A cell is an element of y: rows as they are, then shuffled ones.
template <class T>
struct Permute {
  PermuteDimensions<T> args;

  ELBO_HD void operator()(int64_t row, int64_t d) const {
    const bool shuffled = row >= args.batch;
    if (d == 0) args.target[row] = shuffled ? T(1) : T(0);
    const int64_t from = shuffled ? other_image(row - args.batch, d) : row;
    args.y[row * args.dim + d] = args.z[from * args.dim + d];
  }

  ELBO_HD int64_t other_image(int64_t row, int64_t d) const {
    NoiseAddress at = args.noise.address(0, args.noise.step());
    at.sample = static_cast<uint32_t>(d);
    const PhiloxCounter bits = noise_bits(args.noise.key(), at, 0);
    const ShuffleKey key{{bits.c0, bits.c1, bits.c2, bits.c3}};
    return static_cast<int64_t>(
        shuffled_index(static_cast<uint64_t>(row), static_cast<uint64_t>(args.batch), key));
  }
};

template <class T>
struct TakeFirstHalf {
  const T* dy;
  T* dz;
  bool add;

  ELBO_HD void operator()(int64_t i) const { dz[i] = add ? dz[i] + dy[i] : dy[i]; }
};

template <class T>
struct RatioWeights {
  int64_t batch;
  T factor;
  const T* logits;
  T* w;

  ELBO_HD void operator()(int64_t row) const {
    constexpr T kLeast = -60;
    const T l = logits[row] > kLeast ? logits[row] : kLeast;
    w[row] = row < batch ? T(-2) * factor * (T(1) + math::exp(-l)) : T(0);
  }
};

}  // namespace

template <class T>
void permute_dimensions(const Exec& exec, const PermuteDimensions<T>& args) {
  if (args.batch == 0 || args.dim == 0) return;
  ELBO_CHECK(args.z && args.y && args.target, "permute_dimensions: z, y or target is null");
  for_each_cell<T>(exec, 2 * args.batch, args.dim, Permute<T>{args});
}

template <class T>
void permute_dimensions_backward(const Exec& exec, int64_t batch, int64_t dim, const T* dy, T* dz,
                                 GradMode mode) {
  if (batch == 0 || dim == 0) return;
  ELBO_CHECK(dy && dz, "permute_dimensions: dy or dz is null");
  for_each_element<T>(exec, batch * dim, TakeFirstHalf<T>{dy, dz, mode == GradMode::add});
}

template <class T>
void ratio_weights(const Exec& exec, int64_t batch, float factor, const T* logits, T* w) {
  if (batch == 0) return;
  ELBO_CHECK(logits && w, "ratio_weights: logits or w is null");
  for_each_element<T>(exec, 2 * batch, RatioWeights<T>{batch, static_cast<T>(factor), logits, w});
}

template void permute_dimensions(const Exec&, const PermuteDimensions<float>&);
template void permute_dimensions(const Exec&, const PermuteDimensions<double>&);
template void permute_dimensions_backward(const Exec&, int64_t, int64_t, const float*, float*,
                                          GradMode);
template void permute_dimensions_backward(const Exec&, int64_t, int64_t, const double*, double*,
                                          GradMode);
template void ratio_weights(const Exec&, int64_t, float, const float*, float*);
template void ratio_weights(const Exec&, int64_t, float, const double*, double*);

}  // namespace elbo
