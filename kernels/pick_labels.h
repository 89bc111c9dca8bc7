// Labels of a batch, looked up in a table of all samples: y[b] = table[index[b]].
//
// Shapes    index, y [B] int32; table int32, as long as the largest index asks for
// Work      one launch; reads 8 B bytes, writes 4 B
// Errors    elbo::Error if a pointer is null; B == 0 is a no-op
#pragma once

#include <cstdint>

#include "kernels/exec.h"

namespace elbo {

void pick_labels(const Exec& exec, int64_t batch, const int32_t* index, const int32_t* table,
                 int32_t* y);

}  // namespace elbo
