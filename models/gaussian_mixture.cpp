// Reading guide: GaussianMixture is what a mixture can be asked; MixtureFit makes one, run() its steps.
#include "models/gaussian_mixture.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <random>

#include "kernels/error.h"
#include "kernels/noise.h"
#include "models/symmetric_matrix.h"

namespace elbo {
namespace {

constexpr double kFloor = 1e-3;  // of the average variance: what a component is drawn towards
constexpr int kMeansRounds = 10;

double log_sum(std::span<const double> terms) {
  const double largest = *std::max_element(terms.begin(), terms.end());
  double sum = 0;
  for (const double term : terms) sum += std::exp(term - largest);
  return largest + std::log(sum);
}

// In [0, 1). Not std::uniform_real_distribution, which may differ from library to library.
double uniform(std::mt19937_64& engine) { return static_cast<double>(engine() >> 11) * 0x1p-53; }

}  // namespace

class MixtureFit {
 public:
  MixtureFit(std::span<const float> codes, int64_t dim, const MixtureOptions& options)
      : codes_(codes), dim_(dim), options_(options) {
    ELBO_CHECK(dim > 0 && std::ssize(codes) % dim == 0, "mixture: ", codes.size(),
               " values are not codes of ", dim);
    count_ = std::ssize(codes) / dim;
    ELBO_CHECK(options.components > 0 && count_ >= options.components, "mixture: ", count_,
               " codes for ", options.components, " components; use fewer components");
    const double variance = average_variance();
    ELBO_CHECK(variance > 0, "mixture: all codes are equal");
    spread_ =
        kFloor * variance * static_cast<double>(count_) / static_cast<double>(options.components);
    shares_.resize(static_cast<size_t>(count_ * options.components));
  }

  GaussianMixture run() {
    mixture_.dim_ = dim_;
    mixture_.weights_.resize(static_cast<size_t>(components()));
    mixture_.means_.resize(static_cast<size_t>(components() * dim_));
    mixture_.factors_.resize(static_cast<size_t>(components() * dim_ * dim_));
    mixture_.log_scale_.resize(static_cast<size_t>(components()));
    assign_by_means();
    maximise();
    double before = -std::numeric_limits<double>::infinity();
    for (int step = 0; step < options_.most_steps; ++step) {
      const double objective = expect();
      mixture_.objectives_.push_back(objective);
      if (objective - before < options_.tolerance_nats) break;
      before = objective;
      maximise();
    }
    return std::move(mixture_);
  }

 private:
  int64_t components() const { return options_.components; }
  const float* code(int64_t i) const { return codes_.data() + i * dim_; }
  double& share(int64_t i, int64_t k) { return shares_[i * components() + k]; }

  double average_variance() const {
    std::vector<double> mean(static_cast<size_t>(dim_), 0.0);
    for (int64_t i = 0; i < count_; ++i) {
      for (int64_t d = 0; d < dim_; ++d) mean[d] += code(i)[d];
    }
    for (double& value : mean) value /= static_cast<double>(count_);
    double sum = 0;
    for (int64_t i = 0; i < count_; ++i) {
      for (int64_t d = 0; d < dim_; ++d) sum += (code(i)[d] - mean[d]) * (code(i)[d] - mean[d]);
    }
    return sum / static_cast<double>(count_ * dim_);
  }

  double squared_distance(int64_t i, const std::vector<double>& centres, int64_t k) const {
    double sum = 0;
    for (int64_t d = 0; d < dim_; ++d) {
      const double off = code(i)[d] - centres[k * dim_ + d];
      sum += off * off;
    }
    return sum;
  }

  // k-means++: each centre is a code, drawn in proportion to its squared distance from those before.
  std::vector<double> first_centres() const {
    std::mt19937_64 engine(options_.seed);
    std::vector<double> centres;
    std::vector<double> distance(static_cast<size_t>(count_), 1.0);
    for (int64_t k = 0; k < components(); ++k) {
      double left = uniform(engine) * std::accumulate(distance.begin(), distance.end(), 0.0);
      int64_t chosen = 0;
      while (chosen + 1 < count_ && (left -= distance[chosen]) >= 0) ++chosen;
      for (int64_t d = 0; d < dim_; ++d) centres.push_back(code(chosen)[d]);
      for (int64_t i = 0; i < count_; ++i) {
        const double to_this = squared_distance(i, centres, k);
        distance[i] = k == 0 ? to_this : std::min(distance[i], to_this);
      }
    }
    return centres;
  }

  void assign_by_means() {
    std::vector<double> centres = first_centres();
    std::vector<int64_t> nearest(static_cast<size_t>(count_));
    for (int round = 0; round <= kMeansRounds; ++round) {
#pragma omp parallel for schedule(static)
      for (int64_t i = 0; i < count_; ++i) {
        int64_t best = 0;
        double least = squared_distance(i, centres, 0);
        for (int64_t k = 1; k < components(); ++k) {
          const double distance = squared_distance(i, centres, k);
          if (distance < least) {
            best = k;
            least = distance;
          }
        }
        nearest[i] = best;
      }
      if (round == kMeansRounds) break;
      move_centres(nearest, centres);
    }
    std::fill(shares_.begin(), shares_.end(), 0.0);
    for (int64_t i = 0; i < count_; ++i) share(i, nearest[i]) = 1;
  }

  // A centre that nobody is near stays.
  void move_centres(const std::vector<int64_t>& nearest, std::vector<double>& centres) const {
    std::vector<double> sums(centres.size(), 0.0);
    std::vector<int64_t> members(static_cast<size_t>(components()), 0);
    for (int64_t i = 0; i < count_; ++i) {
      ++members[nearest[i]];
      for (int64_t d = 0; d < dim_; ++d) sums[nearest[i] * dim_ + d] += code(i)[d];
    }
    for (int64_t k = 0; k < components(); ++k) {
      for (int64_t d = 0; d < dim_ && members[k] > 0; ++d) {
        centres[k * dim_ + d] = sums[k * dim_ + d] / static_cast<double>(members[k]);
      }
    }
  }

  // Fills in the shares and returns the objective.
  double expect() {
    std::vector<double> densities(static_cast<size_t>(count_));
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count_; ++i) {
      const std::span<double> terms(&share(i, 0), static_cast<size_t>(components()));
      mixture_.log_terms(code(i), terms);
      densities[i] = log_sum(terms);
      for (double& term : terms) term = std::exp(term - densities[i]);
    }
    double objective = std::accumulate(densities.begin(), densities.end(), 0.0);
    for (int64_t k = 0; k < components(); ++k) objective -= 0.5 * spread_ * inverse_trace(k);
    return objective / static_cast<double>(count_);
  }

  // tr C^-1 = |L^-1|^2, column by column.
  double inverse_trace(int64_t k) const {
    const std::span<const double> factor =
        std::span<const double>(mixture_.factors_).subspan(k * dim_ * dim_, dim_ * dim_);
    double trace = 0;
    for (int64_t d = 0; d < dim_; ++d) {
      std::vector<double> column(static_cast<size_t>(dim_), 0.0);
      column[d] = 1;
      solve_lower(factor, column);
      for (const double value : column) trace += value * value;
    }
    return trace;
  }

  void maximise() {
#pragma omp parallel for schedule(dynamic)
    for (int64_t k = 0; k < components(); ++k) {
      double total = 0;
      for (int64_t i = 0; i < count_; ++i) total += share(i, k);
      mixture_.weights_[k] = total / static_cast<double>(count_);
      constexpr double kNothing = 1e-10;  // codes: such a component stays where it is
      if (total > kNothing) {
        fit_component(k, total);
      } else if (mixture_.factors_[k * dim_ * dim_] == 0) {
        std::vector<double> identity(static_cast<size_t>(dim_ * dim_), 0.0);
        for (int64_t d = 0; d < dim_; ++d) identity[d * dim_ + d] = 1;
        mixture_.factorise(k, identity);  // it never was anywhere
      }
    }
  }

  void fit_component(int64_t k, double total) {
    double* mean = mixture_.means_.data() + k * dim_;
    std::fill(mean, mean + dim_, 0.0);
    for (int64_t i = 0; i < count_; ++i) {
      const double part = share(i, k) / total;
      for (int64_t d = 0; d < dim_; ++d) mean[d] += part * code(i)[d];
    }
    const bool full = options_.covariance == CovarianceKind::full;
    std::vector<double> covariance(static_cast<size_t>(dim_ * dim_), 0.0);
    std::vector<double> off(static_cast<size_t>(dim_));
    for (int64_t i = 0; i < count_; ++i) {
      const double part = share(i, k) / total;
      if (part == 0) continue;
      for (int64_t d = 0; d < dim_; ++d) off[d] = code(i)[d] - mean[d];
      for (int64_t a = 0; a < dim_; ++a) {
        const int64_t first = full ? 0 : a;
        for (int64_t b = first; b <= a; ++b) covariance[a * dim_ + b] += part * off[a] * off[b];
      }
    }
    for (int64_t a = 0; a < dim_; ++a) {
      covariance[a * dim_ + a] += spread_ / total;
      for (int64_t b = 0; b < a; ++b) covariance[b * dim_ + a] = covariance[a * dim_ + b];
    }
    mixture_.factorise(k, covariance);
  }

  std::span<const float> codes_;
  int64_t dim_, count_ = 0;
  MixtureOptions options_;
  double spread_ = 0;           // a of the header
  std::vector<double> shares_;  // [n, K], p(k | code)
  GaussianMixture mixture_;
};

GaussianMixture::GaussianMixture(std::vector<double> mean, std::vector<double> covariance)
    : dim_(std::ssize(mean)), weights_{1.0}, means_(std::move(mean)) {
  ELBO_CHECK(std::ssize(covariance) == dim_ * dim_, "mixture: a covariance of ", covariance.size(),
             " elements for a mean of ", dim_);
  factors_.resize(covariance.size());
  log_scale_.resize(1);
  factorise(0, covariance);
}

GaussianMixture GaussianMixture::fit(std::span<const float> codes, int64_t dim,
                                     const MixtureOptions& options) {
  return MixtureFit(codes, dim, options).run();
}

void GaussianMixture::factorise(int64_t k, const std::vector<double>& covariance) {
  const std::vector<double> factor = cholesky_factor(covariance, dim_);
  std::copy(factor.begin(), factor.end(), factors_.begin() + k * dim_ * dim_);
  double log_det = 0;
  for (int64_t d = 0; d < dim_; ++d) log_det += std::log(factor[d * dim_ + d]);
  log_scale_[k] = std::log(weights_[k]) - log_det -
                  0.5 * static_cast<double>(dim_) * std::log(2 * std::numbers::pi);
}

void GaussianMixture::log_terms(const float* code, std::span<double> terms) const {
  std::vector<double> off(static_cast<size_t>(dim_));
  for (int64_t k = 0; k < components(); ++k) {
    if (weights_[k] == 0) {
      terms[k] = -std::numeric_limits<double>::infinity();
      continue;
    }
    for (int64_t d = 0; d < dim_; ++d) off[d] = code[d] - means_[k * dim_ + d];
    solve_lower(std::span(factors_).subspan(k * dim_ * dim_, dim_ * dim_), off);
    double squares = 0;
    for (const double value : off) squares += value * value;
    terms[k] = log_scale_[k] - 0.5 * squares;
  }
}

double GaussianMixture::log_density(std::span<const float> code) const {
  ELBO_CHECK(std::ssize(code) == dim_, "mixture: a code of ", code.size(), ", expected ", dim_);
  std::vector<double> terms(weights_.size());
  log_terms(code.data(), terms);
  return log_sum(terms);
}

double GaussianMixture::mean_log_density(std::span<const float> codes) const {
  const int64_t n = std::ssize(codes) / dim_;
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += log_density(codes.subspan(i * dim_, dim_));
  return sum / static_cast<double>(n);
}

std::vector<float> GaussianMixture::sample(int64_t n, uint64_t seed, double temperature) const {
  std::vector<float> codes;
  for (int64_t i = 0; i < n; ++i) {
    NoiseAddress at;
    at.purpose = NoisePurpose::prior;
    at.sample = static_cast<uint32_t>(i);
    at.draw = 2;  // 0 are the prior's draws, 1 directions
    double left = uniform1(NoiseKey{seed}, at, 0);
    int64_t k = 0;
    while (k + 1 < components() && (left -= weights_[k]) >= 0) ++k;
    at.draw = 3;
    std::vector<double> eps;
    for (int64_t d = 0; d < dim_; ++d) {
      eps.push_back(normal1(NoiseKey{seed}, at, static_cast<uint64_t>(d)));
      double off = 0;
      for (int64_t j = 0; j <= d; ++j) off += factors_[(k * dim_ + d) * dim_ + j] * eps[j];
      codes.push_back(static_cast<float>(means_[k * dim_ + d] + temperature * off));
    }
  }
  return codes;
}

}  // namespace elbo
