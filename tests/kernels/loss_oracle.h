// Brute-force double for the tests of losses: the textbook forms, by libm, sharing no code with the
// kernels.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "kernels/parallel.h"
#include "kernels/storage.h"
#include "tests/support/device.h"

namespace elbo::oracle {

inline double bounded_logvar(double raw) {
  if (std::isnan(raw) || std::abs(raw) <= 10.0) return raw;
  return std::copysign(20.0 - 100.0 / std::abs(raw), raw);
}
inline double bounded_logvar_slope(double raw) {
  return std::abs(raw) <= 10.0 ? 1.0 : 100.0 / (raw * raw);
}

inline double gaussian_kl(double mu, double raw_logvar) {
  const double v = bounded_logvar(raw_logvar);
  return 0.5 * (mu * mu + std::expm1(v) - v);
}

inline double bernoulli_nll(double logit, double x) {
  // log s(l) = -log(1 + e^-l), written so that e^ never overflows.
  const double log_s =
      logit < 0 ? logit - std::log1p(std::exp(logit)) : -std::log1p(std::exp(-logit));
  const double log_not_s = log_s - logit;
  return -(x * log_s + (1.0 - x) * log_not_s);
}
inline double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

// Half a unit in the last place of T, relative: what one store costs.
template <class T>
inline constexpr double kStore = 0x1p-24;
template <>
inline constexpr double kStore<bf16> = 0x1p-8;
template <>
inline constexpr double kStore<double> = 0x1p-53;

// Relative error of a sum of `terms` values of one sign, each a few roundings off: in sixteen lanes
// one after the other plus the tree, every addition rounding by at most half an ulp.
template <class T>
double sum_tolerance(int64_t terms) {
  const double half_ulp = std::is_same_v<T, double> ? 0x1p-53 : 0x1p-24;
  return half_ulp * (static_cast<double>(terms) / 16.0 + 16.0);
}

// CPU results must not depend on how many threads share the rows. `run` returns bytes_of results.
template <class Run>
void expect_same_bits_for_any_thread_count(const Run& run) {
#ifdef _OPENMP
  const int threads = cpu::thread_count();
  omp_set_num_threads(1);
  const std::string expected = run();
  for (const int count : {2, 3, 5}) {
    omp_set_num_threads(count);
    EXPECT_EQ(run(), expected) << count << " threads";
  }
  omp_set_num_threads(threads);
#else
  EXPECT_EQ(std::string(run()), std::string(run()));
#endif
}

inline double grey(float v) { return v; }
inline double grey(double v) { return v; }
inline double grey(uint8_t v) { return v / 255.0; }

// Targets: grey values or pixels.
template <class Target>
std::vector<Target> random_targets(int64_t count, uint64_t seed) {
  std::mt19937_64 engine(seed);
  std::vector<Target> values(static_cast<size_t>(count));
  for (Target& value : values) {
    const auto pixel = engine() % 256;
    value = std::is_same_v<Target, uint8_t>
                ? static_cast<Target>(pixel)
                : static_cast<Target>(static_cast<double>(pixel) / 255.0);
  }
  return values;
}

}  // namespace elbo::oracle
