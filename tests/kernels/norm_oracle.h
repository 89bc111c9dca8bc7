// Brute-force double for normalisation with an activation: statistics in two passes, gradients from
// their definition. No code shared with the kernels.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "kernels/storage.h"
#include "tests/kernels/linear_oracle.h"

namespace elbo::oracle {

// Errors are measured in the largest value of a result. fp32: a few roundings per element, and sums
// of up to 4000 terms. bf16: one rounding to 8 bits.
template <class T>
inline constexpr double kNormTolerance = std::is_same_v<T, double> ? 1e-11 : 2e-5;
template <class T>
inline constexpr double kNormRounding = std::is_same_v<T, bf16> ? 0x1p-8 : 0.0;

// groups == 0: one set of statistics per channel over all samples (batch norm).
struct NormShape {
  int64_t batch, rows, channels, groups;

  int64_t count() const { return batch * rows * channels; }
  int64_t channel(int64_t i) const { return i % channels; }
  int64_t sample(int64_t i) const { return i / channels / rows; }
  int64_t statistics() const { return groups == 0 ? channels : batch * groups; }
  // Which statistics element i is normalised by.
  int64_t statistic(int64_t i) const {
    return groups == 0 ? channel(i) : sample(i) * groups + channel(i) / (channels / groups);
  }
  std::string name() const {
    return "[" + std::to_string(batch) + ", " + std::to_string(rows) + ", " +
           std::to_string(channels) + "] in " + std::to_string(groups) + " groups";
  }
};

struct NormOracle {
  std::vector<double> mean, var, count;      // per statistic
  std::vector<double> y, dx, dgamma, dbeta;  // dx as a gradient that is written
};

// `fixed_mean`, `fixed_var`: statistics that do not depend on x; null otherwise.
inline NormOracle normalise(const NormShape& s, Activation activation, double epsilon,
                            const std::vector<double>& x, const std::vector<double>& dy,
                            const std::vector<double>& gamma, const std::vector<double>& beta,
                            const std::vector<double>* fixed_mean = nullptr,
                            const std::vector<double>* fixed_var = nullptr) {
  const auto stats = static_cast<size_t>(s.statistics()), n = static_cast<size_t>(s.count());
  NormOracle o;
  o.mean.resize(stats), o.var.resize(stats), o.count.resize(stats);
  for (size_t i = 0; i < n; ++i) o.count[s.statistic(i)] += 1;
  for (size_t i = 0; i < n; ++i) o.mean[s.statistic(i)] += x[i] / o.count[s.statistic(i)];
  for (size_t i = 0; i < n; ++i) {
    const double off = x[i] - o.mean[s.statistic(i)];
    o.var[s.statistic(i)] += off * off / o.count[s.statistic(i)];
  }
  if (fixed_mean) o.mean = *fixed_mean, o.var = *fixed_var;
  o.y.resize(n), o.dx.resize(n), o.dgamma.resize(s.channels), o.dbeta.resize(s.channels);
  std::vector<double> g(n), xhat(n), mean_g(stats), mean_g_xhat(stats);
  for (size_t i = 0; i < n; ++i) {
    const int64_t stat = s.statistic(i), c = s.channel(i);
    xhat[i] = (x[i] - o.mean[stat]) / std::sqrt(o.var[stat] + epsilon);
    const double z = gamma[c] * xhat[i] + beta[c], dz = dy[i] * slope(activation, z);
    o.y[i] = activated(activation, z);
    o.dgamma[c] += dz * xhat[i];
    o.dbeta[c] += dz;
    g[i] = gamma[c] * dz;
    mean_g[stat] += g[i] / o.count[stat];
    mean_g_xhat[stat] += g[i] * xhat[i] / o.count[stat];
  }
  for (size_t i = 0; i < n; ++i) {
    const int64_t stat = s.statistic(i);
    const double centred = fixed_mean ? g[i] : g[i] - mean_g[stat] - xhat[i] * mean_g_xhat[stat];
    o.dx[i] = centred / std::sqrt(o.var[stat] + epsilon);
  }
  return o;
}

template <class T>
std::vector<double> widened(const std::vector<T>& values) {
  std::vector<double> wide;
  for (const T v : values) wide.push_back(static_cast<double>(to_float(v)));
  return wide;
}

inline double largest(const std::vector<double>& values) {
  double most = 1;
  for (const double v : values) most = std::max(most, std::abs(v));
  return most;
}

}  // namespace elbo::oracle
