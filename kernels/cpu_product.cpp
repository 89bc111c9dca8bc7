// Which vector unit, and which thread computes what, of kernels/cpu_product.h.
#include "kernels/cpu_product.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "kernels/error.h"
#include "kernels/parallel.h"

namespace elbo::cpu {
namespace {

// Packing one row of a strip in units of multiplying it with one row of A. Estimates: a copy is a load
// and a store; the transposed forward product takes as long as five more rows would (20 x 784 -> 200).
constexpr int64_t kPackRows = 2, kTransposeRows = 5;

// Multiplications below which a second thread costs more than it brings: about 3 us of work.
constexpr int64_t kParallelProduct = 200000;

int lanes_of(VectorUnit unit) {
#ifdef __x86_64__
  if (unit == VectorUnit::avx512) return avx512::kLanes;
  if (unit == VectorUnit::avx2) return avx2::kLanes;
#endif
  return unit == VectorUnit::baseline ? baseline::kLanes : 0;
}

void multiply_part(VectorUnit unit, const CpuProduct& product, const CpuProductPart& part) {
#ifdef __x86_64__
  if (unit == VectorUnit::avx512) return avx512::multiply_part(product, part);
  if (unit == VectorUnit::avx2) return avx2::multiply_part(product, part);
#endif
  if (unit == VectorUnit::baseline) baseline::multiply_part(product, part);
}

int64_t share(int64_t n, int64_t threads) { return (n + threads - 1) / threads; }

// Threads share columns, which packs every element of B once, or rows, which packs B once per
// thread but divides more evenly where columns are few. Sums over a column want it in one thread.
bool split_rows(const CpuProduct& p, int64_t units, int64_t threads) {
  if (p.sums) return false;
  const int64_t pack = p.b_col == 1 ? kPackRows : kTransposeRows;
  return units * (share(p.rows, threads) + pack) < share(units, threads) * (p.rows + pack);
}

VectorUnit choose_vector_unit() {
  constexpr VectorUnit kWidestFirst[] = {VectorUnit::avx512, VectorUnit::avx2};
  const char* wanted = std::getenv("ELBO_VECTOR_UNIT");
  for (const VectorUnit unit : kWidestFirst) {
    const bool allowed = !wanted || std::strcmp(wanted, vector_unit_name(unit)) == 0;
    if (allowed && vector_unit_available(unit)) return unit;
  }
  return VectorUnit::baseline;
}

}  // namespace

const char* vector_unit_name(VectorUnit unit) {
  constexpr const char* kNames[] = {"baseline", "avx2", "avx512"};
  return kNames[static_cast<int>(unit)];
}

bool vector_unit_available(VectorUnit unit) {
#ifdef __x86_64__
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (unit == VectorUnit::avx2) return avx2;
  if (unit == VectorUnit::avx512) {
    return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
  }
#endif
  return unit == VectorUnit::baseline;
}

VectorUnit default_vector_unit() {
  static const VectorUnit unit = choose_vector_unit();
  return unit;
}

double share_of_zero_steps(const CpuProduct& p) {
  // 16 tiles would tell more, but of a dense product every sample costs a cache miss; 128 samples
  // have a standard error of 0.04 at most.
  constexpr int64_t kTileRows = 12, kTiles = 4, kSteps = 32;
  const int64_t rows = std::min(kTileRows, p.rows);
  const int64_t tiles = std::min(kTiles, p.rows / rows), steps = std::min(kSteps, p.inner);
  int64_t zero_steps = 0;
  for (int64_t i = 0; i < tiles; ++i) {
    const int64_t row = (p.rows - rows) * i / std::max<int64_t>(tiles - 1, 1);
    for (int64_t j = 0; j < steps; ++j) {
      const float* a = p.a + row * p.a_row + p.inner * j / steps * p.a_col;
      int64_t r = 0;
      while (r < rows && a[r * p.a_row] == 0) ++r;
      zero_steps += r == rows;
    }
  }
  return static_cast<double>(zero_steps) / static_cast<double>(tiles * steps);
}

void multiply(const CpuProduct& p, VectorUnit unit) {
  ELBO_CHECK(vector_unit_available(unit), "multiply: this machine has no ", vector_unit_name(unit));
  const int64_t lanes = lanes_of(unit), units = (p.cols + lanes - 1) / lanes;
  const bool small = p.rows * p.cols * p.inner < kParallelProduct;
  const int64_t threads = small ? 1 : thread_count();
  const bool rows = split_rows(p, units, threads);
  const int64_t parts = std::min(threads, rows ? p.rows : units);
  const auto run = [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      CpuProductPart part{0, p.rows, 0, p.cols};
      if (rows) {
        part.row_begin = p.rows * i / parts;
        part.row_end = p.rows * (i + 1) / parts;
      } else {
        part.col_begin = units * i / parts * lanes;
        part.col_end = std::min(p.cols, units * (i + 1) / parts * lanes);
      }
      multiply_part(unit, p, part);
    }
  };
  parallel_ranges(parts, run, kParallelThreshold);
}

}  // namespace elbo::cpu
