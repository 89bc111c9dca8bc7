#include "models/information.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "kernels/error.h"

namespace elbo {
namespace {

void check_distribution(std::span<const double> p) {
  constexpr double kRounding = 1e-9;  // of a sum that should be one
  double sum = 0;
  bool valid = !p.empty();
  for (const double share : p) {
    sum += share;
    valid = valid && share >= 0;
  }
  ELBO_CHECK(valid && std::abs(sum - 1) < kRounding, "a distribution's probabilities sum to ", sum,
             ", expected 1 and none negative");
}

void check_variances(std::span<const double> variance) {
  for (const double v : variance) ELBO_CHECK(v > 0, "a variance is ", v, ", expected above 0");
}

}  // namespace

double entropy_nats(std::span<const double> p) {
  check_distribution(p);
  double nats = 0;
  for (const double share : p) {
    if (share > 0) nats -= share * std::log(share);
  }
  return nats;
}

double kl_nats(std::span<const double> p, std::span<const double> q) {
  check_distribution(p);
  check_distribution(q);
  ELBO_CHECK(p.size() == q.size(), "distributions of ", p.size(), " and ", q.size(),
             " outcomes have no divergence");
  double nats = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    if (p[i] == 0) continue;
    if (q[i] == 0) return std::numeric_limits<double>::infinity();
    nats += p[i] * std::log(p[i] / q[i]);
  }
  return nats;
}

double gaussian_entropy_nats(std::span<const double> variance) {
  check_variances(variance);
  double nats = 0;
  for (const double v : variance) nats += 0.5 * (1 + std::log(2 * std::numbers::pi * v));
  return nats;
}

double gaussian_kl_nats(std::span<const double> mean_p, std::span<const double> variance_p,
                        std::span<const double> mean_q, std::span<const double> variance_q) {
  ELBO_CHECK(mean_p.size() == variance_p.size() && mean_q.size() == mean_p.size() &&
                 variance_q.size() == mean_p.size(),
             "Gaussians of different dimensions have no divergence");
  check_variances(variance_p);
  check_variances(variance_q);
  double nats = 0;
  for (size_t d = 0; d < mean_p.size(); ++d) {
    const double ratio = variance_p[d] / variance_q[d], off = mean_p[d] - mean_q[d];
    nats += 0.5 * (ratio + off * off / variance_q[d] - 1 - std::log(ratio));
  }
  return nats;
}

double gaussian_log_density(std::span<const double> z, std::span<const double> mean,
                            std::span<const double> variance) {
  ELBO_CHECK(z.size() == mean.size() && z.size() == variance.size(), "a point of ", z.size(),
             " dimensions has no density in ", mean.size());
  double log_density = 0;
  for (size_t d = 0; d < z.size(); ++d) {
    const double off = z[d] - mean[d];
    log_density -= 0.5 * (std::log(2 * std::numbers::pi * variance[d]) + off * off / variance[d]);
  }
  return log_density;
}

Estimate sample_mean(std::span<const double> samples) {
  const auto n = static_cast<double>(samples.size());
  ELBO_CHECK(n > 1, "an estimate needs at least two samples; found ", samples.size());
  Estimate estimate;
  for (const double sample : samples) estimate.value += sample / n;
  double squares = 0;
  for (const double sample : samples) {
    squares += (sample - estimate.value) * (sample - estimate.value);
  }
  estimate.standard_error = std::sqrt(squares / (n - 1) / n);
  return estimate;
}

EvidenceEstimate estimate_evidence(std::span<const double> log_weights) {
  ELBO_CHECK(log_weights.size() > 1, "evidence needs at least two weights; found ",
             log_weights.size());
  const auto n = static_cast<double>(log_weights.size());
  const double largest = *std::max_element(log_weights.begin(), log_weights.end());
  double sum = 0, squares = 0;
  for (const double log_weight : log_weights) {
    const double weight = std::exp(log_weight - largest);
    sum += weight;
    squares += weight * weight;
  }
  const double mean = sum / n;
  EvidenceEstimate estimate;
  estimate.log_evidence = largest + std::log(mean);
  // The difference of two averages loses nothing that matters: what it is compared with is 1.
  estimate.relative_variance = std::max(0.0, (squares / n / (mean * mean) - 1) * n / (n - 1));
  estimate.effective_samples = sum * sum / squares;
  return estimate;
}

}  // namespace elbo
