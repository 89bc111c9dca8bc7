// Splitting CPU loops over OpenMP threads.
#pragma once

#include <algorithm>
#include <cstdint>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace elbo::cpu {

inline int thread_count() {
#ifdef _OPENMP
  return omp_get_max_threads();
#else
  return 1;
#endif
}

// Work items below which a fork-join (about a microsecond) costs more than it saves.
inline constexpr int64_t kParallelThreshold = 16384;

// Calls body(begin, end) on disjoint contiguous parts of [0, n). `work_per_item` is the number of
// elements behind one index, so that few long rows are split as readily as many short ones.
template <class Body>
void parallel_ranges(int64_t n, Body body, int64_t work_per_item = 1) {
  const int64_t threads = std::min<int64_t>(thread_count(), n);
  if (threads <= 1 || n * work_per_item < kParallelThreshold) {
    if (n > 0) body(0, n);
    return;
  }
#ifdef _OPENMP
#pragma omp parallel for schedule(static, 1) num_threads(static_cast <int>(threads))
  for (int64_t part = 0; part < threads; ++part) {
    body(n * part / threads, n * (part + 1) / threads);
  }
#endif
}

}  // namespace elbo::cpu
