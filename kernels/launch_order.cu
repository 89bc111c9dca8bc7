#include "kernels/launch_order.h"

#ifdef ELBO_HAS_CUDA

namespace elbo::gpu {

bool kernels_wait_for_previous(int capability) {
#ifdef __CUDA_ARCH_LIST__
  // What wait_for_previous() was compiled for: {800, 900}. The device runs the latest that is not too new.
  constexpr int kCompiled[] = {__CUDA_ARCH_LIST__};
  for (const int compiled : kCompiled) {
    if (compiled >= 900 && compiled <= 10 * capability) return true;
  }
  return false;
#else
  return capability >= 90;
#endif
}

}  // namespace elbo::gpu

#endif  // ELBO_HAS_CUDA
