// The part of the op table about what objectives are made of. Include op_table.h instead.
#pragma once

#include <vector>

#include "tests/support/op_table.h"

namespace elbo {

std::vector<OpEntry> objective_ops();

}  // namespace elbo
