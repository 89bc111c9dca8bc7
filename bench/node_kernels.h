// Kernels that do as good as nothing, for node_bench.
#pragma once

#include "kernels/exec.h"

namespace elbo::bench {

// One thread that does nothing.
void launch_empty(const Exec& exec);

// Adds 1 to data[256 * blocks], one element per thread. Launches that follow each other on the same data
// depend on each other, as those of a training step do.
void launch_blocks(const Exec& exec, float* data, int blocks);

}  // namespace elbo::bench
