// A stored pixel as a number in [0, 1].
#pragma once

#include <cstdint>

#include "kernels/portability.h"

namespace elbo {

// Division, because 255 * (1/255.0f) is not 1. It hides behind the memory traffic of a gather.
template <class R>
ELBO_HD R grey_value(uint8_t v) {
  return static_cast<R>(v) / R(255);
}

}  // namespace elbo
