// What a program must know of itself before it lets launches overlap (LaunchOrder in kernels/gpu.h).
#pragma once

namespace elbo::gpu {

// Whether kernels of this program wait on a device of this compute capability (90 for 9.0). They do not where
// it runs them from PTX for an older one: there launches must not overlap.
bool kernels_wait_for_previous(int capability);

}  // namespace elbo::gpu
