#include "models/symmetric_matrix.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/error.h"

namespace elbo {
namespace {

constexpr int kMostSweeps = 60;  // ten do for any matrix seen; convergence is quadratic

class JacobiSolver {
 public:
  JacobiSolver(std::vector<double>& a, std::vector<double>& v, int64_t n) : a_(a), v_(v), n_(n) {}

  void run() {
    for (int sweep = 0; sweep < kMostSweeps; ++sweep) {
      double off = 0, all = 0;
      for (int64_t i = 0; i < n_; ++i) {
        for (int64_t j = i; j < n_; ++j) {
          const double square = at(i, j) * at(i, j);
          all += square;
          if (j > i) off += square;
        }
      }
      // Relative to the whole matrix: rotations cannot remove more than rounding leaves behind.
      const double eps = std::numeric_limits<double>::epsilon();
      if (off <= eps * eps * all) return;
      for (int64_t p = 0; p < n_; ++p) {
        for (int64_t q = p + 1; q < n_; ++q) rotate(p, q);
      }
    }
  }

 private:
  double& at(int64_t i, int64_t j) { return a_[static_cast<size_t>(i * n_ + j)]; }

  // Makes element (p, q) zero. The smaller of the two angles that do is the one that converges.
  void rotate(int64_t p, int64_t q) {
    const double apq = at(p, q);
    if (apq == 0) return;
    const double theta = (at(q, q) - at(p, p)) / (2 * apq);
    const double t = std::copysign(1.0, theta) / (std::abs(theta) + std::hypot(theta, 1.0));
    const double c = 1 / std::hypot(t, 1.0), s = t * c;
    for (int64_t k = 0; k < n_; ++k) {
      const double kp = at(k, p), kq = at(k, q);
      at(k, p) = c * kp - s * kq;
      at(k, q) = s * kp + c * kq;
    }
    for (int64_t k = 0; k < n_; ++k) {
      const double pk = at(p, k), qk = at(q, k);
      at(p, k) = c * pk - s * qk;
      at(q, k) = s * pk + c * qk;
    }
    double* vp = v_.data() + p * n_;
    double* vq = v_.data() + q * n_;
    for (int64_t k = 0; k < n_; ++k) {
      const double x = vp[k], y = vq[k];
      vp[k] = c * x - s * y;
      vq[k] = s * x + c * y;
    }
  }

  std::vector<double>& a_;
  std::vector<double>& v_;
  int64_t n_;
};

void check_square(size_t size, int64_t n) {
  ELBO_CHECK(n > 0 && static_cast<int64_t>(size) == n * n, "a matrix of ", size,
             " elements is not ", n, " x ", n);
}

}  // namespace

SymmetricEigen symmetric_eigen(std::vector<double> matrix, int64_t n) {
  check_square(matrix.size(), n);
  const auto extent = static_cast<size_t>(n);
  for (size_t i = 0; i < extent; ++i) {
    for (size_t j = 0; j < i; ++j) matrix[i * extent + j] = matrix[j * extent + i];
  }
  std::vector<double> vectors(matrix.size(), 0.0);
  for (size_t i = 0; i < extent; ++i) vectors[i * extent + i] = 1;
  JacobiSolver(matrix, vectors, n).run();

  std::vector<size_t> order(extent);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return matrix[a * extent + a] > matrix[b * extent + b];
  });
  SymmetricEigen eigen;
  for (const size_t i : order) {
    eigen.values.push_back(matrix[i * extent + i]);
    const auto row = vectors.begin() + static_cast<int64_t>(i * extent);
    eigen.vectors.insert(eigen.vectors.end(), row, row + n);
  }
  return eigen;
}

std::vector<double> cholesky_factor(std::vector<double> matrix, int64_t n) {
  check_square(matrix.size(), n);
  double* a = matrix.data();
  for (int64_t j = 0; j < n; ++j) {
    double diagonal = a[j * n + j];
    for (int64_t k = 0; k < j; ++k) diagonal -= a[j * n + k] * a[j * n + k];
    if (!(diagonal > 0)) {
      throw_error(ErrorCode::numeric, "a covariance of ", n, " x ", n,
                  " is not positive definite: pivot ", j, " is ", diagonal,
                  "; are some latents constant?");
    }
    a[j * n + j] = std::sqrt(diagonal);
    for (int64_t i = j + 1; i < n; ++i) {
      double sum = a[i * n + j];
      for (int64_t k = 0; k < j; ++k) sum -= a[i * n + k] * a[j * n + k];
      a[i * n + j] = sum / a[j * n + j];
    }
    for (int64_t i = 0; i < j; ++i) a[i * n + j] = 0;
  }
  return matrix;
}

void solve_lower(std::span<const double> factor, std::span<double> x) {
  const size_t n = x.size();
  for (size_t i = 0; i < n; ++i) {
    double sum = x[i];
    for (size_t k = 0; k < i; ++k) sum -= factor[i * n + k] * x[k];
    x[i] = sum / factor[i * n + i];
  }
}

}  // namespace elbo
