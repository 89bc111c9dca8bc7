// The part of the op table about ops on pictures, [B, H, W, C] tensors. Include op_table.h instead.
#pragma once

#include <vector>

#include "tests/support/op_table.h"

namespace elbo {

std::vector<OpEntry> picture_ops();

}  // namespace elbo
