// Reading guide: principal_components() centres, then Subspace finds the leading invariant subspace of
// the covariance by repeated products with it, and a small exact eigenproblem orders what was found.
#include "models/principal_components.h"

#include <algorithm>
#include <cmath>

#include "kernels/error.h"
#include "kernels/noise.h"
#include "models/symmetric_matrix.h"

namespace elbo {
namespace {

constexpr int64_t kSpare = 10;            // directions beyond those asked for speed convergence
constexpr int64_t kLargestSquare = 2048;  // a covariance of so many squared is 32 MiB
constexpr int kCheapPasses = 60, kDearPasses = 12;
constexpr int64_t kRowsAtATime = 64;  // stay in the second-level cache

class Subspace {
 public:
  Subspace(std::span<const float> rows, int64_t size, const std::vector<double>& mean,
           int64_t block)
      : rows_(rows), size_(size), count_(std::ssize(rows) / size), mean_(mean), block_(block) {
    if (size <= kLargestSquare) make_covariance();
    basis_.resize(static_cast<size_t>(block * size));
    const NoiseAddress at{NoisePurpose::init, 0, 0, 0};
    for (size_t i = 0; i < basis_.size(); ++i) basis_[i] = normal1(NoiseKey{1}, at, i);
    orthonormalise(basis_);
  }

  void iterate() {
    const int passes = covariance_.empty() ? kDearPasses : kCheapPasses;
    for (int pass = 0; pass < passes; ++pass) {
      basis_ = covariance_times(basis_);
      orthonormalise(basis_);
    }
  }

  // Of the covariance within the subspace.
  void rotate_to_eigenvectors(PrincipalComponents& result) const {
    const std::vector<double> image = covariance_times(basis_);
    std::vector<double> small(static_cast<size_t>(block_ * block_));
    for (int64_t i = 0; i < block_; ++i) {
      for (int64_t j = i; j < block_; ++j) {
        small[static_cast<size_t>(i * block_ + j)] = dot(&basis_[at(i)], &image[at(j)]);
      }
    }
    const SymmetricEigen eigen = symmetric_eigen(std::move(small), block_);
    for (int64_t k = 0; k < result.count; ++k) {
      std::vector<double> direction(static_cast<size_t>(size_), 0.0);
      for (int64_t i = 0; i < block_; ++i) {
        const double share = eigen.vectors[static_cast<size_t>(k * block_ + i)];
        for (int64_t d = 0; d < size_; ++d) direction[d] += share * basis_[at(i) + d];
      }
      fix_sign(direction);
      result.directions.insert(result.directions.end(), direction.begin(), direction.end());
      result.variances.push_back(std::max(0.0, eigen.values[static_cast<size_t>(k)]));
    }
  }

 private:
  size_t at(int64_t direction) const { return static_cast<size_t>(direction * size_); }

  double dot(const double* a, const double* b) const {
    double sum = 0;
    for (int64_t d = 0; d < size_; ++d) sum += a[d] * b[d];
    return sum;
  }

  // The largest element is positive: an eigenvector's own sign means nothing.
  static void fix_sign(std::vector<double>& direction) {
    const auto largest =
        std::max_element(direction.begin(), direction.end(),
                         [](double a, double b) { return std::abs(a) < std::abs(b); });
    if (*largest < 0) {
      for (double& value : direction) value = -value;
    }
  }

  // Each element is summed by one thread, in the order of the rows.
  void make_covariance() {
    covariance_.assign(static_cast<size_t>(size_ * size_), 0.0);
    for (int64_t first = 0; first < count_; first += kRowsAtATime) {
      const int64_t last = std::min(first + kRowsAtATime, count_);
#pragma omp parallel for schedule(dynamic, 16)
      for (int64_t i = 0; i < size_; ++i) {
        double* row = covariance_.data() + i * size_;
        for (int64_t n = first; n < last; ++n) {
          const float* x = rows_.data() + n * size_;
          const double xi = x[i];
          if (xi == 0) continue;  // most pixels of many sets
          for (int64_t j = i; j < size_; ++j) row[j] += xi * static_cast<double>(x[j]);
        }
      }
    }
    for (int64_t i = 0; i < size_; ++i) {
      for (int64_t j = i; j < size_; ++j) {
        double& value = covariance_[static_cast<size_t>(i * size_ + j)];
        value = value / static_cast<double>(count_) - mean_[i] * mean_[j];
        covariance_[static_cast<size_t>(j * size_ + i)] = value;
      }
    }
  }

  // [block, size] to [block, size].
  std::vector<double> covariance_times(const std::vector<double>& basis) const {
    std::vector<double> out(basis.size(), 0.0);
#pragma omp parallel for schedule(static)
    for (int64_t k = 0; k < block_; ++k) {
      const double* direction = basis.data() + k * size_;
      double* image = out.data() + k * size_;
      if (covariance_.empty()) {
        times_by_rows(direction, image);
        continue;
      }
      for (int64_t i = 0; i < size_; ++i) image[i] = dot(covariance_.data() + i * size_, direction);
    }
    return out;
  }

  void times_by_rows(const double* direction, double* image) const {
    const double shift = dot(mean_.data(), direction);
    double sum = 0;
    for (int64_t n = 0; n < count_; ++n) {
      const float* x = rows_.data() + n * size_;
      double along = -shift;
      for (int64_t d = 0; d < size_; ++d) along += static_cast<double>(x[d]) * direction[d];
      for (int64_t d = 0; d < size_; ++d) image[d] += along * static_cast<double>(x[d]);
      sum += along;
    }
    const auto n = static_cast<double>(count_);
    for (int64_t d = 0; d < size_; ++d) image[d] = (image[d] - sum * mean_[d]) / n;
  }

  // Gram-Schmidt, twice: once is not enough for nearly parallel directions. A direction of which nothing
  // is left (fewer dimensions in the data than asked for) becomes zero.
  void orthonormalise(std::vector<double>& basis) const {
    for (int64_t k = 0; k < block_; ++k) {
      double* row = basis.data() + k * size_;
      const double before = std::sqrt(dot(row, row));
      for (int round = 0; round < 2; ++round) {
        for (int64_t j = 0; j < k; ++j) {
          const double* other = basis.data() + j * size_;
          const double along = dot(row, other);
          for (int64_t d = 0; d < size_; ++d) row[d] -= along * other[d];
        }
      }
      const double length = std::sqrt(dot(row, row));
      constexpr double kNothing = 1e-12;  // of what there was: rounding
      const double scale = length > kNothing * before ? 1 / length : 0.0;
      for (int64_t d = 0; d < size_; ++d) row[d] *= scale;
    }
  }

  std::span<const float> rows_;
  int64_t size_, count_;
  const std::vector<double>& mean_;
  int64_t block_;
  std::vector<double> covariance_;  // [size, size], or empty
  std::vector<double> basis_;       // [block, size]
};

}  // namespace

PrincipalComponents principal_components(std::span<const float> rows, int64_t size, int64_t count) {
  ELBO_CHECK(size > 0 && count > 0 && !rows.empty() && std::ssize(rows) % size == 0,
             "principal components: ", rows.size(), " values are not rows of ", size);
  const int64_t n = std::ssize(rows) / size;
  PrincipalComponents result;
  result.size = size;
  result.count = std::min({count, size, n});
  result.mean.assign(static_cast<size_t>(size), 0.0);
  for (size_t i = 0; i < rows.size(); ++i) {
    result.mean[i % static_cast<size_t>(size)] += rows[i] / static_cast<double>(n);
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    const double off = rows[i] - result.mean[i % static_cast<size_t>(size)];
    result.total_variance += off * off / static_cast<double>(n);
  }
  Subspace subspace(rows, size, result.mean, std::min({result.count + kSpare, size, n}));
  subspace.iterate();
  subspace.rotate_to_eigenvectors(result);
  return result;
}

std::vector<float> PrincipalComponents::project(std::span<const float> rows) const {
  ELBO_CHECK(std::ssize(rows) % size == 0, "principal components: ", rows.size(),
             " values are not rows of ", size);
  const int64_t n = std::ssize(rows) / size;
  std::vector<float> coordinates(static_cast<size_t>(n * count));
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t k = 0; k < count; ++k) {
      double sum = 0;
      for (int64_t d = 0; d < size; ++d) {
        sum += (rows[i * size + d] - mean[d]) * directions[k * size + d];
      }
      coordinates[i * count + k] = static_cast<float>(sum);
    }
  }
  return coordinates;
}

std::vector<float> PrincipalComponents::restore(std::span<const float> coordinates) const {
  ELBO_CHECK(std::ssize(coordinates) % count == 0, "principal components: ", coordinates.size(),
             " values are not rows of ", count);
  const int64_t n = std::ssize(coordinates) / count;
  std::vector<float> rows(static_cast<size_t>(n * size));
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < n; ++i) {
    std::vector<double> row = mean;
    for (int64_t k = 0; k < count; ++k) {
      const double along = coordinates[i * count + k];
      for (int64_t d = 0; d < size; ++d) row[d] += along * directions[k * size + d];
    }
    for (int64_t d = 0; d < size; ++d) rows[i * size + d] = static_cast<float>(row[d]);
  }
  return rows;
}

}  // namespace elbo
