#include "models/aggregate.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/error.h"
#include "models/symmetric_matrix.h"

namespace elbo {

LatentMoments latent_moments(std::span<const float> mu, std::span<const float> logvar,
                             int64_t dim) {
  ELBO_CHECK(dim > 0 && !mu.empty() && std::ssize(mu) % dim == 0 &&
                 (logvar.empty() || logvar.size() == mu.size()),
             "latent moments: ", mu.size(), " means and ", logvar.size(),
             " log-variances are not rows of ", dim);
  const int64_t n = std::ssize(mu) / dim;
  LatentMoments moments;
  moments.dim = dim;
  moments.mean.assign(static_cast<size_t>(dim), 0.0);
  moments.covariance.assign(static_cast<size_t>(dim * dim), 0.0);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t d = 0; d < dim; ++d) moments.mean[d] += mu[i * dim + d] / static_cast<double>(n);
  }
  std::vector<double> off(static_cast<size_t>(dim));
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t d = 0; d < dim; ++d) off[d] = mu[i * dim + d] - moments.mean[d];
    for (int64_t a = 0; a < dim; ++a) {
      for (int64_t b = 0; b < dim; ++b) moments.covariance[a * dim + b] += off[a] * off[b];
      if (!logvar.empty()) {
        moments.covariance[a * dim + a] += std::exp(static_cast<double>(logvar[i * dim + a]));
      }
    }
  }
  for (double& value : moments.covariance) value /= static_cast<double>(n);
  return moments;
}

double LatentMoments::largest_correlation() const {
  double largest = 0;
  for (int64_t a = 0; a < dim; ++a) {
    for (int64_t b = 0; b < a; ++b) {
      const double scale = std::sqrt(variance_of(a) * variance_of(b));
      if (scale > 0) largest = std::max(largest, std::abs(covariance[a * dim + b]) / scale);
    }
  }
  return largest;
}

double LatentMoments::kl_to_prior_nats() const {
  const SymmetricEigen eigen = symmetric_eigen(covariance, dim);
  double nats = 0;
  for (int64_t d = 0; d < dim; ++d) {
    const double variance = eigen.values[d];
    if (!(variance > 0)) return std::numeric_limits<double>::infinity();
    nats += 0.5 * (variance + mean[d] * mean[d] - 1 - std::log(variance));
  }
  return nats;
}

}  // namespace elbo
