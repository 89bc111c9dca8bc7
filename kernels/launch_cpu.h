// CPU bodies of the loop patterns in kernels/launch.h. Include that header, not this one.
//
// Each pattern splits its index range over OpenMP threads and hands every part to an ELBO_CLONES
// function: an OpenMP region is outlined into a function of its own, which would lose the clone's
// instruction set, so the loop that must vectorise stands outside of it.
//
// Loops with arrays of their own (x, y, s) say `GCC ivdep`, not `omp simd`: the latter makes every
// such array one per lane in memory, which GCC 12 then fails to vectorise; Adam ran eight times
// slower.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/error.h"
#include "kernels/exec.h"
#include "kernels/launch.h"
#include "kernels/parallel.h"
#include "kernels/portability.h"
#include "kernels/storage.h"

namespace elbo::cpu {

// Sixteen fp32 lanes: one AVX-512 register or two AVX2 ones, and enough independent sums to hide
// the latency of an add. The number is part of the result's bits.
inline constexpr int kLanes = 16;

// Elements summed into one fp32 partial by reduce(); also part of the result's bits.
inline constexpr int64_t kReduceChunk = 8192;

template <int N, class T>
ELBO_HD void load_element(const PointerPack<const T, N>& in, int64_t i, Compute<T>* x) {
  for (int k = 0; k < N; ++k) x[k] = to_float(in.at[k][i]);
}

template <int N, class T>
ELBO_HD void store_element(const PointerPack<T, N>& out, int64_t i, const Compute<T>* y) {
  for (int k = 0; k < N; ++k) out.at[k][i] = from_float<T>(y[k]);
}

template <class F>
ELBO_CLONES void for_each_range(F f, int64_t begin, int64_t end) {
#pragma omp simd
  for (int64_t i = begin; i < end; ++i) f(i);
}

template <class F>
void for_each(int64_t n, F f) {
  parallel_ranges(n, [&](int64_t begin, int64_t end) { for_each_range(f, begin, end); });
}

template <class F, class T, int In, int Out>
ELBO_CLONES void map_range(F f, PointerPack<const T, In> in, PointerPack<T, Out> out, int64_t begin,
                           int64_t end) {
#pragma GCC ivdep
  for (int64_t i = begin; i < end; ++i) {
    Compute<T> x[In > 0 ? In : 1], y[Out > 0 ? Out : 1];
    load_element(in, i, x);
    f(i, x, y);
    store_element(out, i, y);
  }
}

template <class F, class T, int In, int Out>
void map(int64_t n, F f, PointerPack<const T, In> in, PointerPack<T, Out> out) {
  parallel_ranges(n, [&](int64_t begin, int64_t end) { map_range(f, in, out, begin, end); });
}

// Adds lanes pairwise in a fixed tree.
template <class R, int Sums>
ELBO_HD void fold_lanes(R (&lanes)[Sums][kLanes], R (&sums)[Sums]) {
  for (int k = 0; k < Sums; ++k) {
    for (int width = kLanes / 2; width > 0; width /= 2) {
      for (int lane = 0; lane < width; ++lane) lanes[k][lane] += lanes[k][lane + width];
    }
    sums[k] = lanes[k][0];
  }
}

// One row: element (row, col) goes to lane col % kLanes, the tail included.
template <class F, class T, int In, int Out>
ELBO_HD void row_body(const F& f, int64_t row, int64_t cols, const PointerPack<const T, In>& in,
                      const PointerPack<T, Out>& out, Compute<T> (&sums)[F::kSums]) {
  Compute<T> lanes[F::kSums][kLanes] = {};
  const int64_t base = row * cols;
  const int64_t whole = cols - cols % kLanes;
  for (int64_t block = 0; block < whole; block += kLanes) {
#pragma GCC ivdep
    for (int lane = 0; lane < kLanes; ++lane) {
      Compute<T> x[In > 0 ? In : 1], y[Out > 0 ? Out : 1], s[F::kSums];
      for (int k = 0; k < F::kSums; ++k) s[k] = lanes[k][lane];
      load_element(in, base + block + lane, x);
      f(row, block + lane, x, y, s);
      store_element(out, base + block + lane, y);
      for (int k = 0; k < F::kSums; ++k) lanes[k][lane] = s[k];
    }
  }
  for (int64_t col = whole; col < cols; ++col) {
    Compute<T> x[In > 0 ? In : 1], y[Out > 0 ? Out : 1], s[F::kSums];
    for (int k = 0; k < F::kSums; ++k) s[k] = lanes[k][col - whole];
    load_element(in, base + col, x);
    f(row, col, x, y, s);
    store_element(out, base + col, y);
    for (int k = 0; k < F::kSums; ++k) lanes[k][col - whole] = s[k];
  }
  fold_lanes(lanes, sums);
}

template <class F, class T, int In, int Out>
ELBO_CLONES void row_reduce_range(F f, int64_t cols, PointerPack<const T, In> in,
                                  PointerPack<T, Out> out, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    Compute<T> sums[F::kSums];
    row_body(f, row, cols, in, out, sums);
    f.finish(row, sums);
  }
}

template <class F, class T, int In, int Out>
void row_reduce(int64_t rows, int64_t cols, F f, PointerPack<const T, In> in,
                PointerPack<T, Out> out) {
  parallel_ranges(
      rows, [&](int64_t begin, int64_t end) { row_reduce_range(f, cols, in, out, begin, end); },
      std::max<int64_t>(cols, 1));
}

// Columns [begin, end) in strips of kLanes; each strip walks down all rows in order.
template <class F, class T, int In, int Out>
ELBO_CLONES void col_reduce_range(F f, int64_t rows, int64_t cols, PointerPack<const T, In> in,
                                  PointerPack<T, Out> out, int64_t begin, int64_t end) {
  for (int64_t strip = begin; strip < end; strip += kLanes) {
    const int width = static_cast<int>(std::min<int64_t>(kLanes, end - strip));
    Compute<T> lanes[F::kSums][kLanes] = {};
    for (int64_t row = 0; row < rows; ++row) {
#pragma GCC ivdep
      for (int lane = 0; lane < width; ++lane) {
        Compute<T> x[In > 0 ? In : 1], y[Out > 0 ? Out : 1], s[F::kSums];
        for (int k = 0; k < F::kSums; ++k) s[k] = lanes[k][lane];
        load_element(in, row * cols + strip + lane, x);
        f(row, strip + lane, x, y, s);
        store_element(out, row * cols + strip + lane, y);
        for (int k = 0; k < F::kSums; ++k) lanes[k][lane] = s[k];
      }
    }
    for (int lane = 0; lane < width; ++lane) {
      Compute<T> sums[F::kSums];
      for (int k = 0; k < F::kSums; ++k) sums[k] = lanes[k][lane];
      f.finish(strip + lane, sums);
    }
  }
}

template <class F, class T, int In, int Out>
void col_reduce(int64_t rows, int64_t cols, F f, PointerPack<const T, In> in,
                PointerPack<T, Out> out) {
  const int64_t strips = (cols + kLanes - 1) / kLanes;
  parallel_ranges(
      strips,
      [&](int64_t begin, int64_t end) {
        col_reduce_range(f, rows, cols, in, out, begin * kLanes, std::min(end * kLanes, cols));
      },
      std::max<int64_t>(rows, 1) * kLanes);
}

template <class F, class T, int In>
ELBO_CLONES void reduce_chunks(F f, int64_t n, PointerPack<const T, In> in, Compute<T>* partials,
                               int64_t begin, int64_t end) {
  for (int64_t chunk = begin; chunk < end; ++chunk) {
    Compute<T> lanes[F::kSums][kLanes] = {};
    const int64_t first = chunk * kReduceChunk, last = std::min(n, first + kReduceChunk);
    const int64_t whole = last - (last - first) % kLanes;
    for (int64_t block = first; block < whole; block += kLanes) {
#pragma GCC ivdep
      for (int lane = 0; lane < kLanes; ++lane) {
        Compute<T> x[In > 0 ? In : 1], s[F::kSums];
        for (int k = 0; k < F::kSums; ++k) s[k] = lanes[k][lane];
        load_element(in, block + lane, x);
        f(block + lane, x, s);
        for (int k = 0; k < F::kSums; ++k) lanes[k][lane] = s[k];
      }
    }
    for (int64_t i = whole; i < last; ++i) {
      Compute<T> x[In > 0 ? In : 1], s[F::kSums];
      for (int k = 0; k < F::kSums; ++k) s[k] = lanes[k][i - whole];
      load_element(in, i, x);
      f(i, x, s);
      for (int k = 0; k < F::kSums; ++k) lanes[k][i - whole] = s[k];
    }
    Compute<T> sums[F::kSums];
    fold_lanes(lanes, sums);
    for (int k = 0; k < F::kSums; ++k) partials[chunk * F::kSums + k] = sums[k];
  }
}

template <class F, class T, int In>
void reduce(const Exec& exec, int64_t n, F f, PointerPack<const T, In> in) {
  const int64_t chunks = (n + kReduceChunk - 1) / kReduceChunk;
  auto* partials = reinterpret_cast<Compute<T>*>(exec.scratch.data);
  const size_t needed = static_cast<size_t>(chunks) * F::kSums * sizeof(Compute<T>);
  ELBO_CHECK(needed <= exec.scratch.bytes, "reduce of ", n, " elements needs ", needed,
             " bytes of scratch, has ", exec.scratch.bytes);
  parallel_ranges(
      chunks, [&](int64_t begin, int64_t end) { reduce_chunks(f, n, in, partials, begin, end); },
      kReduceChunk);
  double sums[F::kSums] = {};
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    for (int k = 0; k < F::kSums; ++k) sums[k] += partials[chunk * F::kSums + k];
  }
  f.finish(sums);
}

}  // namespace elbo::cpu
