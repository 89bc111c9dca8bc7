// The entries of op_table() for convolutions.
#pragma once

#include "tests/support/op_table.h"

namespace elbo {

OpEntry conv2d_entry();
OpEntry conv_transpose2d_entry();
OpEntry conv_likelihood_layer_entry();

}  // namespace elbo
