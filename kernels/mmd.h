// Maximum mean discrepancy between two samples, squared: how far apart two distributions are, by the
// distances between their samples alone.
//
//   y = 1/(B (B-1)) sum_{i != j} [k(z_i, z_j) + k(p_i, p_j)] - 2/B^2 sum_{i,j} k(z_i, p_j)
//
// k is the sum of inverse multiquadratics c / (c + |a - b|^2), c = 2 D s for s in {0.1, 0.2, 0.5, 1, 2,
// 5, 10}, 2 D being the mean of |a - b|^2 between samples of N(0, I). Heavier tails than a Gaussian's:
// samples far off still feel a pull.
//
// Shapes    z, p [B, D]; y [1]; parts [B] of work space
// Units     none; y estimates without bias, so it can be negative
// Gradient  dz only: p is a fixed sample
// Work      O(B^2 D), two launches forward and one backward
// Numerics  fp32, fixed order
// Errors    elbo::Error if a pointer is missing. B < 2 gives 0: one sample says nothing of a distribution.
// Source    Gretton et al. 2012, JMLR 13, lemma 6; Tolstikhin et al. 2017, arXiv:1711.01558, section 4
//           (kernel and scales)
#pragma once

#include <cstdint>

#include "kernels/exec.h"
#include "kernels/storage.h"

namespace elbo {

// T is float, or double on the CPU.
template <class T>
void mmd_forward(const Exec& exec, int64_t batch, int64_t dim, const T* z, const T* p, T* parts,
                 T* y);
template <class T>
void mmd_backward(const Exec& exec, int64_t batch, int64_t dim, const T* z, const T* p, const T* dy,
                  T* dz, GradMode mode);

}  // namespace elbo
