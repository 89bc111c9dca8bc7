// Sums of matrices.
//
//   sum_rows   y[r] (+)= scale * sum_c x[r,c]
//   sum_cols   y[c] (+)= scale * sum_r x[r,c]
//   sum_all    y[0] (+)= scale * sum_i x[i]
//
// With scale = 1/count each is a mean. GradMode::add adds to what y holds.
//
// Shapes    x [R, C] row-major, contiguous; y [R], [C] or [1]
// Gradient  of each is scale * dy broadcast back: broadcast_rows, broadcast_cols, broadcast_all here
// Work      one launch each; reads RC elements. sum_all needs reduce_scratch_bytes(1) and a ticket.
// Numerics  fp32 in a fixed order (kernels/launch.h): error at most about 2 eps log2(n) sum |x|
// Errors    elbo::Error if a pointer is null where it has elements. A sum over nothing is zero.
#pragma once

#include <cstdint>

#include "kernels/exec.h"
#include "kernels/storage.h"

namespace elbo {

// T is float, bf16 or double (CPU only).
template <class T>
void sum_rows(const Exec& exec, int64_t rows, int64_t cols, const T* x, Compute<T>* y,
              Compute<T> scale = 1, GradMode mode = GradMode::write);
template <class T>
void sum_cols(const Exec& exec, int64_t rows, int64_t cols, const T* x, Compute<T>* y,
              Compute<T> scale = 1, GradMode mode = GradMode::write);
template <class T>
void sum_all(const Exec& exec, int64_t n, const T* x, Compute<T>* y, Compute<T> scale = 1,
             GradMode mode = GradMode::write);

// dx[r,c] (+)= scale * dy[r], dy[c] or dy[0]: the gradients of the sums above.
template <class T>
void broadcast_rows(const Exec& exec, int64_t rows, int64_t cols, const Compute<T>* dy, T* dx,
                    Compute<T> scale = 1, GradMode mode = GradMode::write);
template <class T>
void broadcast_cols(const Exec& exec, int64_t rows, int64_t cols, const Compute<T>* dy, T* dx,
                    Compute<T> scale = 1, GradMode mode = GradMode::write);
template <class T>
void broadcast_all(const Exec& exec, int64_t n, const Compute<T>* dy, T* dx, Compute<T> scale = 1,
                   GradMode mode = GradMode::write);

}  // namespace elbo
