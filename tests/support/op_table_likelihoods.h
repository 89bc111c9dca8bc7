// The entries of op_table() for the likelihoods of engine/ops/likelihood_op.h that are no layers.
#pragma once

#include "tests/support/op_table.h"

namespace elbo {

std::vector<OpEntry> likelihood_ops();

}  // namespace elbo
