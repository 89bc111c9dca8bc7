// The loop patterns that element-wise and row-wise ops are made of, one source for both devices.
//
//   for_each(exec, n, f)                      f(i)
//   map(exec, n, f, in, out)                  f(i, x, y): y[] from x[], one element of each array
//   row_reduce(exec, rows, cols, f, in, out)  f(row, col, x, y, sums); then f.finish(row, sums)
//   col_reduce(exec, rows, cols, f, in, out)  f(row, col, x, y, sums); then f.finish(col, sums)
//   reduce(exec, n, f, in)                    f(i, x, sums); then f.finish(sums), once
//
// f is a *named* functor whose call operator is ELBO_HD, so that a profiler shows
// row_reduce_kernel<ReparamKlForward>. `in` and `out` are PointerPack{a, b, ...} of matrices of one
// shape and storage type; out may alias in element by element. x, y and sums are Compute<T> values:
// fp32, or fp64 on the CPU's oracle path, so f's call operator is a template on the number type.
// A functor that reduces says how many sums it keeps: static constexpr int kSums.
//
// Numerics  Every order of summation is fixed and independent of the thread count: on the CPU
// sixteen
//           interleaved lanes per row or chunk, on CUDA a fixed tree per block and block sums in
//           index order. Partial sums are fp32, the final sum over chunks or blocks is fp64.
// Work      CUDA moves 16 bytes per access where pointers and shape allow it. One launch each.
//
// Functors live in an anonymous namespace of a .cu file. In a CUDA build this header refuses to be
// included from a .cpp: the same template compiled by two compilers would break the one-definition
// rule, and link order would choose the device.
#pragma once

#include "kernels/exec.h"
#include "kernels/portability.h"
#include "kernels/storage.h"

#if defined(ELBO_HAS_CUDA) && !defined(__CUDACC__) && !defined(CUDASIM)
#error "kernels/launch.h belongs in .cu files only"
#endif

namespace elbo {

template <class T, int N>
struct PointerPack {
  T* at[N > 0 ? N : 1];
};

template <class T, class... Rest>
PointerPack(T*, Rest*...) -> PointerPack<T, 1 + sizeof...(Rest)>;

// For ops without matrix inputs or without matrix outputs.
template <class T>
using NoPointers = PointerPack<T, 0>;

}  // namespace elbo

#include "kernels/launch_cpu.h"
#ifdef ELBO_HAS_CUDA
#include "kernels/launch_cuda.cuh"
#endif

namespace elbo {

template <class F>
void for_each([[maybe_unused]] const Exec& exec, int64_t n, F f) {
  if (n <= 0) return;
#ifdef ELBO_HAS_CUDA
  if (exec.on_cuda()) return cuda::for_each(exec, n, f);
#endif
  cpu::for_each(n, f);
}

template <class F, class T, int In, int Out>
void map([[maybe_unused]] const Exec& exec, int64_t n, F f, PointerPack<const T, In> in,
         PointerPack<T, Out> out) {
  if (n <= 0) return;
#ifdef ELBO_HAS_CUDA
  if constexpr (kHasDeviceCode<T>) {
    if (exec.on_cuda()) return cuda::map(exec, n, f, in, out);
  }
#endif
  cpu::map(n, f, in, out);
}

// cols == 0 still calls finish with zero sums: a sum over nothing is zero, not undefined.
template <class F, class T, int In, int Out>
void row_reduce([[maybe_unused]] const Exec& exec, int64_t rows, int64_t cols, F f,
                PointerPack<const T, In> in, PointerPack<T, Out> out) {
  if (rows <= 0) return;
#ifdef ELBO_HAS_CUDA
  if constexpr (kHasDeviceCode<T>) {
    if (exec.on_cuda()) return cuda::row_reduce(exec, rows, cols, f, in, out);
  }
#endif
  cpu::row_reduce(rows, cols, f, in, out);
}

template <class F, class T, int In, int Out>
void col_reduce([[maybe_unused]] const Exec& exec, int64_t rows, int64_t cols, F f,
                PointerPack<const T, In> in, PointerPack<T, Out> out) {
  if (cols <= 0) return;
#ifdef ELBO_HAS_CUDA
  if constexpr (kHasDeviceCode<T>) {
    if (exec.on_cuda()) return cuda::col_reduce(exec, rows, cols, f, in, out);
  }
#endif
  cpu::col_reduce(rows, cols, f, in, out);
}

// Needs reduce_scratch_bytes(kSums) of exec.scratch and one ticket.
template <class F, class T, int In>
void reduce([[maybe_unused]] const Exec& exec, int64_t n, F f, PointerPack<const T, In> in) {
#ifdef ELBO_HAS_CUDA
  if constexpr (kHasDeviceCode<T>) {
    if (exec.on_cuda()) return cuda::reduce(exec, n, f, in);
  }
#endif
  cpu::reduce(exec, n, f, in);
}

}  // namespace elbo
