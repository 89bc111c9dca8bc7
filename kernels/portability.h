// The few macros that let one source serve nvcc, the simulator and a plain C++ compiler.
#pragma once

// ELBO_HD marks scalar maths that runs on either device.
#if defined(__CUDACC__)
#define ELBO_HD __host__ __device__ __forceinline__
#else
#define ELBO_HD inline __attribute__((always_inline))
#endif

// ELBO_CLONES makes GCC compile a CPU loop for plain x86-64, AVX2+FMA and AVX-512 and choose at
// load time, so that what we ship vectorises without -march=native. Clang 19 and older refuse it on
// templates; sanitizers and ifunc resolvers do not mix.
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define ELBO_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define ELBO_CLONES
#endif
