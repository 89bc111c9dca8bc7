#include "models/scalar_quantiser.h"

#include <algorithm>
#include <cmath>

#include "kernels/error.h"

namespace elbo {

ScalarQuantiser::ScalarQuantiser(std::span<const float> codes, int64_t dim, int bits)
    : dim_(dim), levels_(std::ldexp(1.0, bits)) {
  ELBO_CHECK(dim > 0 && !codes.empty() && std::ssize(codes) % dim == 0, "quantiser: ", codes.size(),
             " values are not codes of ", dim);
  ELBO_CHECK(bits >= 1 && bits <= 24, "quantiser: ", bits, " bits, expected 1 to 24");
  low_.assign(codes.begin(), codes.begin() + dim);
  extent_ = low_;  // the largest, at first
  for (int64_t i = 0; i < std::ssize(codes); ++i) {
    const double value = codes[i];
    low_[i % dim] = std::min(low_[i % dim], value);
    extent_[i % dim] = std::max(extent_[i % dim], value);
  }
  for (int64_t d = 0; d < dim; ++d) extent_[d] -= low_[d];
}

std::vector<float> ScalarQuantiser::rounded(std::span<const float> codes) const {
  ELBO_CHECK(std::ssize(codes) % dim_ == 0, "quantiser: ", codes.size(),
             " values are not codes of ", dim_);
  std::vector<float> result;
  result.reserve(codes.size());
  for (int64_t i = 0; i < std::ssize(codes); ++i) {
    const double low = low_[i % dim_], extent = extent_[i % dim_];
    if (extent == 0) {
      result.push_back(static_cast<float>(low));
      continue;
    }
    const double step = std::floor((codes[i] - low) / extent * levels_);
    const double middle = (std::clamp(step, 0.0, levels_ - 1) + 0.5) / levels_;
    result.push_back(static_cast<float>(low + middle * extent));
  }
  return result;
}

}  // namespace elbo
