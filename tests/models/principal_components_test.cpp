// Eigenvectors, factors and principal components against what defines them.
#include "models/principal_components.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/error.h"
#include "kernels/noise.h"
#include "models/symmetric_matrix.h"

namespace elbo {
namespace {

double normal(uint32_t row, uint64_t column) {
  return normal1(NoiseKey{5}, {NoisePurpose::data, 0, row, 0}, column);
}

std::vector<double> random_symmetric(int64_t n) {
  std::vector<double> matrix(static_cast<size_t>(n * n));
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = i; j < n; ++j) {
      matrix[i * n + j] = matrix[j * n + i] = normal(static_cast<uint32_t>(i), j);
    }
  }
  return matrix;
}

TEST(SymmetricMatrix, EigenvectorsGiveTheMatrixBack) {
  for (const int64_t n : {1, 2, 5, 24}) {
    const std::vector<double> matrix = random_symmetric(n);
    const SymmetricEigen eigen = symmetric_eigen(matrix, n);
    for (int64_t i = 0; i < n; ++i) {
      if (i > 0) {
        EXPECT_LE(eigen.values[i], eigen.values[i - 1]);
      }
      for (int64_t j = 0; j < n; ++j) {
        double restored = 0, product = 0;
        for (int64_t k = 0; k < n; ++k) {
          restored += eigen.values[k] * eigen.vectors[k * n + i] * eigen.vectors[k * n + j];
          product += eigen.vectors[i * n + k] * eigen.vectors[j * n + k];
        }
        EXPECT_NEAR(restored, matrix[i * n + j], 1e-12 * static_cast<double>(n));
        EXPECT_NEAR(product, i == j ? 1 : 0, 1e-13 * static_cast<double>(n));
      }
    }
  }
}

// Eigenvalues of the second-difference matrix are 2 - 2 cos(pi k / (n + 1)).
TEST(SymmetricMatrix, EigenvaluesOfAKnownMatrix) {
  constexpr int64_t n = 16;
  std::vector<double> matrix(n * n, 0.0);
  for (int64_t i = 0; i < n; ++i) {
    matrix[i * n + i] = 2;
    if (i + 1 < n) matrix[i * n + i + 1] = -1;  // the lower triangle is not looked at
  }
  const SymmetricEigen eigen = symmetric_eigen(matrix, n);
  for (int64_t k = 0; k < n; ++k) {
    EXPECT_NEAR(eigen.values[k], 2 - 2 * std::cos(M_PI * static_cast<double>(n - k) / (n + 1)),
                1e-13);
  }
}

TEST(SymmetricMatrix, FactorTimesItsTransposeIsTheMatrix) {
  constexpr int64_t n = 6;
  std::vector<double> matrix = random_symmetric(n);
  for (int64_t i = 0; i < n; ++i) matrix[i * n + i] += 10;  // positive definite
  const std::vector<double> factor = cholesky_factor(matrix, n);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < n; ++k) sum += factor[i * n + k] * factor[j * n + k];
      EXPECT_NEAR(sum, matrix[i * n + j], 1e-13);
      if (j > i) {
        EXPECT_EQ(factor[i * n + j], 0);
      }
    }
  }
  std::vector<double> x = {1, -2, 3, 0, 5, -1};
  const std::vector<double> right = x;
  solve_lower(factor, x);
  for (int64_t i = 0; i < n; ++i) {
    double sum = 0;
    for (int64_t k = 0; k <= i; ++k) sum += factor[i * n + k] * x[k];
    EXPECT_NEAR(sum, right[i], 1e-13);
  }
  EXPECT_THROW(cholesky_factor({1, 2, 2, 1}, 2), Error);
}

// `count` rows in `size` dimensions that vary along some directions only, with falling scale.
std::vector<float> rows_of_rank(int64_t count, int64_t size, int64_t rank, double fall) {
  std::vector<float> rows;
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t d = 0; d < size; ++d) {
      double value = 3 + 0.1 * static_cast<double>(d % 7);  // a mean that is not zero
      for (int64_t k = 0; k < rank; ++k) {
        value += std::pow(fall, k) * normal(static_cast<uint32_t>(i), k) *
                 normal(static_cast<uint32_t>(100000 + k), d);
      }
      rows.push_back(static_cast<float>(value));
    }
  }
  return rows;
}

double squared_error(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double off = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    sum += off * off;
  }
  return sum;
}

// What is left over is the sum of the eigenvalues left out (Eckart & Young), here of the exact
// covariance; and it is what `restore` shows.
TEST(PrincipalComponents, LeaveOverWhatTheTheoremSays) {
  constexpr int64_t n = 300, size = 40, count = 5;
  const std::vector<float> rows = rows_of_rank(n, size, 30, 0.9);
  const PrincipalComponents found = principal_components(rows, size, count);
  ASSERT_EQ(found.count, count);
  std::vector<double> covariance(size * size, 0.0);
  for (int64_t i = 0; i < size; ++i) {
    for (int64_t j = 0; j < size; ++j) {
      for (int64_t r = 0; r < n; ++r) {
        covariance[i * size + j] +=
            (rows[r * size + i] - found.mean[i]) * (rows[r * size + j] - found.mean[j]) / n;
      }
    }
  }
  const SymmetricEigen exact = symmetric_eigen(covariance, size);
  double left = 0, total = 0;
  for (int64_t k = 0; k < size; ++k) {
    total += exact.values[k];
    if (k >= count) left += exact.values[k];
    if (k < count) {
      EXPECT_NEAR(found.variances[k], exact.values[k], 1e-8 * exact.values[0]);
    }
  }
  EXPECT_NEAR(found.total_variance, total, 1e-9 * total);
  const std::vector<float> restored = found.restore(found.project(rows));
  EXPECT_NEAR(squared_error(rows, restored) / n, left, 1e-5 * left);  // coordinates are floats
  for (int64_t a = 0; a < count; ++a) {
    for (int64_t b = 0; b < count; ++b) {
      double product = 0;
      for (int64_t d = 0; d < size; ++d) {
        product += found.directions[a * size + d] * found.directions[b * size + d];
      }
      EXPECT_NEAR(product, a == b ? 1 : 0, 1e-12);
    }
  }
}

// Above 2048 dimensions no covariance is made.
TEST(PrincipalComponents, OfLargeImagesRestoreDataOfTheirRank) {
  constexpr int64_t n = 60, size = 2500, rank = 3;
  const std::vector<float> rows = rows_of_rank(n, size, rank, 0.5);
  const PrincipalComponents found = principal_components(rows, size, rank);
  const double total = found.total_variance * n;
  EXPECT_LT(squared_error(rows, found.restore(found.project(rows))), 1e-9 * total);
  const PrincipalComponents two = principal_components(rows, size, 2);
  EXPECT_NEAR(squared_error(rows, two.restore(two.project(rows))) / n, found.variances[2],
              1e-4 * found.variances[2]);
}

TEST(PrincipalComponents, AreAsManyAsThereCanBe) {
  const PrincipalComponents found = principal_components(rows_of_rank(4, 3, 3, 1), 3, 9);
  EXPECT_EQ(found.count, 3);
  const PrincipalComponents flat = principal_components(std::vector<float>(12, 2.0f), 3, 2);
  EXPECT_EQ(flat.variances, (std::vector<double>{0, 0}));
  EXPECT_THROW(principal_components(std::vector<float>(4), 3, 1), Error);
}

}  // namespace
}  // namespace elbo
