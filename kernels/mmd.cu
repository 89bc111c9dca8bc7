#include "kernels/mmd.h"

#include "kernels/error.h"
#include "kernels/launch.h"
#include "kernels/launch_cells.h"
#include "kernels/sums.h"

namespace elbo {
namespace {

constexpr int kScales = 7;

template <class T>
ELBO_HD T scale_of(int i) {
  constexpr T kScale[kScales] = {T(0.1), T(0.2), T(0.5), T(1), T(2), T(5), T(10)};
  return kScale[i];
}

template <class T>
struct Kernel {
  int64_t dim;

  ELBO_HD T squared_distance(const T* a, const T* b) const {
    T sum = T(0);
    for (int64_t d = 0; d < dim; ++d) sum += (a[d] - b[d]) * (a[d] - b[d]);
    return sum;
  }

  ELBO_HD T value(T squared) const {
    T sum = T(0);
    for (int i = 0; i < kScales; ++i) {
      const T c = static_cast<T>(2 * dim) * scale_of<T>(i);
      sum += c / (c + squared);
    }
    return sum;
  }

  // d k / d |a - b|^2
  ELBO_HD T slope(T squared) const {
    T sum = T(0);
    for (int i = 0; i < kScales; ++i) {
      const T c = static_cast<T>(2 * dim) * scale_of<T>(i);
      sum -= c / ((c + squared) * (c + squared));
    }
    return sum;
  }
};

// Row i's share of the three sums.
template <class T>
struct MmdRow {
  Kernel<T> kernel;
  const T *z, *p;
  int64_t batch;
  T* parts;

  ELBO_HD void operator()(int64_t i) const {
    const int64_t dim = kernel.dim;
    T within = T(0), across = T(0);
    for (int64_t j = 0; j < batch; ++j) {
      if (j != i) {
        within += kernel.value(kernel.squared_distance(z + i * dim, z + j * dim)) +
                  kernel.value(kernel.squared_distance(p + i * dim, p + j * dim));
      }
      across += kernel.value(kernel.squared_distance(z + i * dim, p + j * dim));
    }
    const T n = static_cast<T>(batch);
    parts[i] = within / (n * (n - T(1))) - T(2) * across / (n * n);
  }
};

// A pair (z_i, z_j) appears twice in the sum, (z_i, p_j) once; 2 is from the squared distance.
template <class T>
struct MmdGradient {
  Kernel<T> kernel;
  const T *z, *p, *dy;
  int64_t batch;
  T* dz;
  GradMode mode;

  ELBO_HD void operator()(int64_t i, int64_t d) const {
    const int64_t dim = kernel.dim;
    const T* zi = z + i * dim;
    T within = T(0), across = T(0);
    for (int64_t j = 0; j < batch; ++j) {
      const T *zj = z + j * dim, *pj = p + j * dim;
      if (j != i) within += kernel.slope(kernel.squared_distance(zi, zj)) * (zi[d] - zj[d]);
      across += kernel.slope(kernel.squared_distance(zi, pj)) * (zi[d] - pj[d]);
    }
    const T n = static_cast<T>(batch);
    const T gradient = T(4) * within / (n * (n - T(1))) - T(4) * across / (n * n);
    put_gradient(dz[i * dim + d], dy[0] * gradient, mode);
  }
};

template <class T>
struct Zero {
  T* dz;
  GradMode mode;
  ELBO_HD void operator()(int64_t i) const { put_gradient(dz[i], T(0), mode); }
};

}  // namespace

template <class T>
void mmd_forward(const Exec& exec, int64_t batch, int64_t dim, const T* z, const T* p, T* parts,
                 T* y) {
  const bool defined = batch > 1;
  ELBO_CHECK(y && (!defined || (z && p && parts)), "mmd_forward: a pointer is null");
  if (defined) for_each_element<T>(exec, batch, MmdRow<T>{{dim}, z, p, batch, parts});
  sum_all(exec, defined ? batch : 0, static_cast<const T*>(parts), y);
}

template <class T>
void mmd_backward(const Exec& exec, int64_t batch, int64_t dim, const T* z, const T* p, const T* dy,
                  T* dz, GradMode mode) {
  ELBO_CHECK(batch * dim == 0 || (z && p && dy && dz), "mmd_backward: a pointer is null");
  if (batch < 2) return for_each_element<T>(exec, batch * dim, Zero<T>{dz, mode});
  for_each_cell<T>(exec, batch, dim, MmdGradient<T>{{dim}, z, p, dy, batch, dz, mode});
}

#define ELBO_INSTANTIATE(T)                                                                   \
  template void mmd_forward(const Exec&, int64_t, int64_t, const T*, const T*, T*, T*);       \
  template void mmd_backward(const Exec&, int64_t, int64_t, const T*, const T*, const T*, T*, \
                             GradMode);
ELBO_INSTANTIATE(float)
ELBO_INSTANTIATE(double)
#undef ELBO_INSTANTIATE

}  // namespace elbo
