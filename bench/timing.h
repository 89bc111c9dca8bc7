// Clocks and medians for benchmarks that compare two things in one run.
#pragma once

#include <time.h>

#include <algorithm>
#include <vector>

#include "kernels/parallel.h"

namespace elbo::bench {

// Wall time; with one thread (OMP_NUM_THREADS=1) that thread's CPU time, which other programs on the
// machine hardly disturb.
inline double now_us() {
  timespec t{};
  clock_gettime(cpu::thread_count() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return 1e6 * static_cast<double>(t.tv_sec) + 1e-3 * static_cast<double>(t.tv_nsec);
}

template <class F>
double time_us(F f, int repeats) {
  const double start = now_us();
  for (int i = 0; i < repeats; ++i) f();
  return (now_us() - start) / repeats;
}

// fraction 0.5 is the median.
inline double quantile(std::vector<double> values, double fraction) {
  const auto at = values.begin() + static_cast<long>(fraction * static_cast<double>(values.size()));
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

// Median time of f() in microseconds, over samples of about 1 ms each.
template <class F>
double median_us(F f, int samples = 41) {
  time_us(f, 3);
  const int repeats = std::max(1, static_cast<int>(1000 / std::max(time_us(f, 3), 1.0)));
  std::vector<double> times(static_cast<size_t>(samples));
  for (double& t : times) t = time_us(f, repeats);
  return quantile(times, 0.5);
}

// Two things measured in turns, so that what else the machine does hits both alike.
struct PairedTimes {
  double base_us, other_us;                          // medians
  double ratio, ratio_10_percent, ratio_90_percent;  // of other / base, round by round
};

template <class Base, class Other>
PairedTimes time_paired(Base base, Other other, int rounds = 101, int repeats = 3) {
  std::vector<double> base_us, other_us, ratios;
  time_us(base, repeats);
  time_us(other, repeats);
  for (int round = 0; round < rounds; ++round) {
    base_us.push_back(time_us(base, repeats));
    other_us.push_back(time_us(other, repeats));
    ratios.push_back(other_us.back() / base_us.back());
  }
  return {quantile(base_us, 0.5), quantile(other_us, 0.5), quantile(ratios, 0.5),
          quantile(ratios, 0.1), quantile(ratios, 0.9)};
}

}  // namespace elbo::bench
