// Small symmetric matrices in double: what principal components and Gaussian mixtures need.
//
// Shapes    [n, n] row-major
// Work      eigenvalues: about 10 sweeps of 3 n^3; factor: n^3 / 3. One thread
// Numerics  eigenvectors by cyclic Jacobi rotations: orthonormal to rounding, small eigenvalues
//           relatively as accurate as large ones of a well-scaled matrix
// Source    Golub & Van Loan, Matrix Computations, 4th edition, 8.5 and 4.2
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace elbo {

struct SymmetricEigen {
  std::vector<double> values;   // [n], falling
  std::vector<double> vectors;  // [n, n]: row i belongs to values[i]
};

// Of a symmetric matrix; only its upper triangle is looked at.
SymmetricEigen symmetric_eigen(std::vector<double> matrix, int64_t n);

// matrix = L L^T with L lower triangular; the upper triangle of L is zero.
// Errors: ErrorCode::numeric if the matrix is not positive definite.
std::vector<double> cholesky_factor(std::vector<double> matrix, int64_t n);

// Solves L y = x in place.
void solve_lower(std::span<const double> factor, std::span<double> x);

}  // namespace elbo
