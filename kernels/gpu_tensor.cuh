// Tensor cores and asynchronous copies: the inline PTX of the project, each piece with a portable body
// that tests/sim runs. Device code of .cu files only.
//
// A tile product works on words of 32 bits along k: one TF32 number, or two neighbouring bf16 ones. In
// words both types have the same fragments, so whatever loads them is written once. With lane = 4g + t:
//
//   A [16 rows, 8 words]  a[0] (g, t)  a[1] (g+8, t)  a[2] (g, t+4)  a[3] (g+8, t+4)
//   B [8 words, 8 cols]   b[0] (t, g)  b[1] (t+4, g)
//   C [16 rows, 8 cols]   c[0] (g, 2t) c[1] (g, 2t+1) c[2] (g+8, 2t) c[3] (g+8, 2t+1)
//
// Source    PTX ISA 8.0, "Matrix Fragments for mma.m16n8k8" (.tf32) and "mma.m16n8k16" (.bf16)
#pragma once

#ifdef ELBO_HAS_CUDA

#include <cstdint>

#include "kernels/gpu.h"
#include "kernels/storage.h"

namespace elbo::gpu {

inline constexpr int kTileRows = 16, kTileCols = 8, kTileWords = 8;

// Round to 10 bits of mantissa, ties away from zero, as cvt.rna.tf32.f32. NaN stays NaN: without the
// test the rounding carry could turn it into a zero.
__device__ inline uint32_t to_tf32(float v) {
#ifdef CUDASIM
  const uint32_t u = __float_as_uint(v);
  return v != v ? 0x7fffffffu : (u + 0x1000u) & ~0x1fffu;
#else
  uint32_t u;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(u) : "f"(v));
  return u;
#endif
}

// c += A B for one tile; T is float (words are TF32 numbers) or bf16. All lanes of the warp call.
template <class T>
__device__ void multiply_tile(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#ifdef CUDASIM
  ::cudasim::multiply_tile(c, a, b, sizeof(T) == sizeof(float) ? 1 : 2, ::cudasim::Site::current());
#else
  if constexpr (sizeof(T) == sizeof(float)) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  } else {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
#endif
}

// Asks for 16 bytes to be copied from global to shared memory, or for 16 zero bytes if !valid (`from`
// is then not read, but must be an address). Both aligned to 16. They are there once the thread that
// asked has waited and a barrier has let the others know.
__device__ inline void copy_async(void* to, const void* from, bool valid) {
#ifdef CUDASIM
  ::cudasim::async_copy({to, valid ? from : nullptr, 4}, ::cudasim::Site::current());
#else
  const auto shared = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(from), "r"(bytes)
               : "memory");
#endif
}

// Ends a group of copies; groups complete in order.
__device__ inline void commit_copies() {
#ifdef CUDASIM
  ::cudasim::async_commit();
#else
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits until at most `GroupsLeft` of this thread's latest groups are still under way.
template <int GroupsLeft>
__device__ void wait_for_copies() {
#ifdef CUDASIM
  ::cudasim::async_wait(GroupsLeft);
#else
  asm volatile("cp.async.wait_group %0;" ::"n"(GroupsLeft) : "memory");
#endif
}

}  // namespace elbo::gpu

#endif  // ELBO_HAS_CUDA
