// kernels/cpu_product.h for AVX2 with FMA: vectors of 8 floats, 16 registers.
#ifdef __x86_64__

#include <immintrin.h>

#include <cstdint>
#include <utility>

#include "kernels/cpu_product.h"

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

namespace elbo::cpu::avx2 {

// clang-format off
#include "kernels/cpu_vector_avx2.h"
#include "kernels/cpu_product_body.h"
// clang-format on

}  // namespace elbo::cpu::avx2

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif  // __x86_64__
