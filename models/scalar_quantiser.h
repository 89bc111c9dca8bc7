// Codes cut down to a few bits per value: 2^bits equal steps between the least and the largest value that
// each dimension had among the codes that the quantiser was made for. A value becomes the middle of its
// step; one outside goes to the nearest step.
//
// Shapes    codes [n, D] row-major
// Errors    elbo::Error if sizes do not fit together or bits is not in 1..24 (a float has no more)
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace elbo {

class ScalarQuantiser {
 public:
  ScalarQuantiser(std::span<const float> codes, int64_t dim, int bits);

  std::vector<float> rounded(std::span<const float> codes) const;

 private:
  int64_t dim_;
  double levels_;
  std::vector<double> low_, extent_;  // [D]
};

}  // namespace elbo
