// The upstream gradient of a per-row loss: what one row's loss weighs in the objective.
//
//   weight of row b = scale * values[b * stride]
//
// stride 0 is one device scalar for all rows (the gradient of a mean, an annealed beta), stride 1
// one value per row (importance weights). The scale carries constants such as 1/batch, so that no
// kernel is launched just to multiply by them.
#pragma once

#include <cstdint>

#include "kernels/portability.h"

namespace elbo {

// R is what losses are computed in: float, or double on the CPU's oracle path.
template <class R>
struct BasicLossWeight {
  const R* values = nullptr;  // device memory; each op says what null means to it
  int64_t stride = 0;         // 0 or 1
  R scale = 1;

  ELBO_HD R at(int64_t row) const { return scale * values[row * stride]; }
};

using LossWeight = BasicLossWeight<float>;

}  // namespace elbo
