// kernels/cpu_product.h for any machine: vectors of 4 floats, which are SSE2 on x86-64 and NEON on
// aarch64.
#ifdef __aarch64__
#include <arm_neon.h>
#endif

#include <cstdint>
#include <utility>

#include "kernels/cpu_product.h"

namespace elbo::cpu::baseline {

// clang-format off
#include "kernels/cpu_vector_baseline.h"
#include "kernels/cpu_product_body.h"
// clang-format on

}  // namespace elbo::cpu::baseline
