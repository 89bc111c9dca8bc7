// kernels/cpu_product.h for AVX-512: vectors of 16 floats, 32 registers.
#ifdef __x86_64__

#include <immintrin.h>

#include <cstdint>
#include <utility>

#include "kernels/cpu_product.h"

#ifdef __clang__
#pragma clang attribute push( \
    __attribute__((target("avx2,fma,avx512f,avx512vl,avx512dq,avx512bw"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512vl,avx512dq,avx512bw")
#endif

namespace elbo::cpu::avx512 {

// clang-format off
#include "kernels/cpu_vector_avx512.h"
#include "kernels/cpu_product_body.h"
// clang-format on

}  // namespace elbo::cpu::avx512

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif  // __x86_64__
