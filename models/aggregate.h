// The aggregate posterior q(z) = mean over images of q(z | x): its moments, which match the prior's
// (0 and I) where a VAE has learned what it was meant to.
//
//   mean = E mu,   covariance = Cov mu + diag E exp(logvar)
//   kl   = KL(N(mean, covariance) || N(0, I)) = (tr C + m.m - D - log det C) / 2
//
// Shapes    mu, logvar [n, D] row-major; logvar empty for a plain autoencoder, whose codes are points
// Units     nats
// Numerics  double; covariances are averages over n
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace elbo {

struct LatentMoments {
  int64_t dim = 0;
  std::vector<double> mean;        // [D]
  std::vector<double> covariance;  // [D, D]

  double mean_of(int64_t d) const { return mean[static_cast<size_t>(d)]; }
  double variance_of(int64_t d) const { return covariance[static_cast<size_t>(d * dim + d)]; }
  double largest_correlation() const;  // of two different latents, without its sign
  double kl_to_prior_nats() const;     // infinite if the covariance is singular
};

LatentMoments latent_moments(std::span<const float> mu, std::span<const float> logvar, int64_t dim);

}  // namespace elbo
