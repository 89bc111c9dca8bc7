// A mixture of Gaussians fitted to codes by expectation maximisation: what to draw latents from where
// codes do not fill the prior, as those of a plain autoencoder do not.
//
//   p(z) = sum_k w_k N(z; m_k, C_k),   C_k full or diagonal
//
// Start     k-means++ of `seed`, then ten rounds of k-means
// Steps     the usual ones, except that C_k = S_k + (a / N_k) I, where a is 1e-3 of the average variance
//           times n / K: the maximum of the likelihood with a prior on C_k in which no component can
//           collapse onto a point. So what never falls is objective = mean log p(z) minus
//           sum_k a tr(C_k^-1) / 2n, in nats per code
// Shapes    codes [n, D] row-major
// Work      per step n K D^2 (full) or n K D
// Numerics  double; does not depend on the number of threads
// Errors    elbo::Error if there are fewer codes than components or all codes are equal
// Source    Bishop 2006, Pattern Recognition and Machine Learning, 9.2; Arthur & Vassilvitskii 2007
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace elbo {

enum class CovarianceKind { full, diagonal };

struct MixtureOptions {
  int64_t components = 10;
  CovarianceKind covariance = CovarianceKind::full;
  uint64_t seed = 42;
  int most_steps = 200;
  double tolerance_nats = 1e-4;  // stop when a step gains less
};

class GaussianMixture {
 public:
  // One Gaussian, given by its covariance [D, D].
  GaussianMixture(std::vector<double> mean, std::vector<double> covariance);

  static GaussianMixture fit(std::span<const float> codes, int64_t dim,
                             const MixtureOptions& options);

  int64_t dim() const { return dim_; }
  int64_t components() const { return std::ssize(weights_); }
  const std::vector<double>& weights() const { return weights_; }
  std::span<const double> mean(int64_t k) const {
    return std::span(means_).subspan(k * dim_, dim_);
  }
  const std::vector<double>& objectives() const { return objectives_; }  // after each step

  double log_density(std::span<const float> code) const;  // nats
  double mean_log_density(std::span<const float> codes) const;

  // Draws number [0, n) of `seed`, whatever n is; deviations from a component's mean are multiplied by
  // `temperature`.
  std::vector<float> sample(int64_t n, uint64_t seed, double temperature = 1) const;

 private:
  GaussianMixture() = default;
  friend class MixtureFit;

  // log w_k + log N(code; m_k, C_k) of all components.
  void log_terms(const float* code, std::span<double> terms) const;
  void factorise(int64_t k, const std::vector<double>& covariance);

  int64_t dim_ = 0;
  std::vector<double> weights_;    // [K]
  std::vector<double> means_;      // [K, D]
  std::vector<double> factors_;    // [K, D, D], lower triangular: C_k = L L^T
  std::vector<double> log_scale_;  // [K]: log w_k - log det L - D/2 log 2 pi
  std::vector<double> objectives_;
};

}  // namespace elbo
