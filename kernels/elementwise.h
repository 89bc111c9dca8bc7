// Element-wise arithmetic, and copies between matrices of different shape.
//
//   add, sub, mul      y (+)= a + b,  a - b,  a * b
//   scale              y (+)= factor * x            with add this is axpy; with factor 1, accumulate
//   fill               y = value
//   copy_matrix        dst[r,c] (+)= src[r,c]       rows `stride` elements apart on either side
//   repeat_rows        y[r*times + k] (+)= x[r]     for k < times: each row `times` times in a row
//   sum_repeated_rows  dx[r] (+)= sum_k dy[r*times + k], the gradient of repeat_rows
//   convert_u8         y = scale * x / 255          stored pixels to [0, scale]
//   convert            y (+)= x as another type, to nearest even
//
// copy_matrix is concat, slice and their gradients: a slice of columns is a copy whose source
// starts in mid-row, a concat is one copy per part, and the gradient of either is the copy the
// other way.
//
// Shapes    n elements, or [rows, cols] row-major; strides in elements, at least cols
// Gradient  (+)= is GradMode: write replaces what the output holds, add adds to it. Outputs may be
//           the same memory as an input of the same shape, never overlap it otherwise.
// Work      one launch; every operand once; 16-byte accesses where alignment allows it.
//           copy_matrix moves 16 bytes per access if both pointers, both strides and cols allow it.
// Numerics  fp32 arithmetic for float and bf16; copies with write are exact for every bit pattern
// Errors    elbo::Error if a pointer is null where it has elements, or a stride is below cols;
//           no elements: no-op
#pragma once

#include <cstdint>

#include "kernels/exec.h"
#include "kernels/storage.h"

namespace elbo {

// T is float, bf16 or double (CPU only) throughout.
template <class T>
void add(const Exec& exec, int64_t n, const T* a, const T* b, T* y,
         GradMode mode = GradMode::write);
template <class T>
void sub(const Exec& exec, int64_t n, const T* a, const T* b, T* y,
         GradMode mode = GradMode::write);
template <class T>
void mul(const Exec& exec, int64_t n, const T* a, const T* b, T* y,
         GradMode mode = GradMode::write);
template <class T>
void scale(const Exec& exec, int64_t n, Compute<T> factor, const T* x, T* y,
           GradMode mode = GradMode::write);
template <class T>
void fill(const Exec& exec, int64_t n, Compute<T> value, T* y);

template <class T>
void copy_matrix(const Exec& exec, int64_t rows, int64_t cols, const T* src, int64_t src_stride,
                 T* dst, int64_t dst_stride, GradMode mode = GradMode::write);
// x [rows, cols], y [rows*times, cols]
template <class T>
void repeat_rows(const Exec& exec, int64_t rows, int64_t cols, int64_t times, const T* x, T* y,
                 GradMode mode = GradMode::write);
// dy [rows*times, cols], dx [rows, cols]; the sum runs over k in order
template <class T>
void sum_repeated_rows(const Exec& exec, int64_t rows, int64_t cols, int64_t times, const T* dy,
                       T* dx, GradMode mode = GradMode::write);

void convert_u8(const Exec& exec, int64_t n, const uint8_t* x, float* y, float scale = 1.0f);
// Float to bf16, or back.
template <class From, class To>
void convert(const Exec& exec, int64_t n, const From* x, To* y, GradMode mode = GradMode::write);

}  // namespace elbo
