// Runs CUDA C++ kernels on the CPU, for tests. Every .cu file is compiled as C++ with this header
// forced in front of it:   g++ -std=c++20 -xc++ -include tests/sim/cudasim.h -c kernel.cu
//
// Reading guide. A CUDA thread is a fiber (fiber.h), the threads of a block take turns on one host
// thread and blocks run one after another (scheduler.h, sync.cpp). Types such as float4, dim3 and
// cudaError_t come from NVIDIA's own headers in host mode; device.h adds the names that exist only
// in device code, runtime_*.cpp the runtime calls (libcudart is not linked), control.h is what
// tests use to choose thread orders, inject faults and read reports. With ELBO_RACECHECK,
// race_*.cpp sees every memory access of a kernel through the calls that -fsanitize=thread makes
// the compiler emit.
//
// Not simulated: inline PTX, wgmma, TMA, clusters, and any wait of one block for another.
#pragma once

#ifdef __CUDACC__
#error "tests/sim/cudasim.h is for host compilers; nvcc must not see it"
#endif
#define CUDASIM 1

#include "tests/sim/sanitizer.h"

// Static shared arrays live in a section of their own, so that each block starts with all of them
// poisoned. Two gaps: AddressSanitizer puts no red zones around variables in named sections, so its
// builds use plain statics, and GCC 12 ignores the attribute inside templates (GCC PR 41091). In
// both an unwritten element keeps an old value; the race checker's build (clang) has neither gap.
#ifdef CUDASIM_ASAN
#define CUDASIM_SHARED static
#else
#define CUDASIM_SHARED static __attribute__((section("cudasim_shared")))
#endif

#include <cuda_runtime.h>

#undef __shared__
#define __shared__ CUDASIM_SHARED
#undef __launch_bounds__
#define __launch_bounds__(...)
#undef __forceinline__
#define __forceinline__ inline  // GCC's always_inline refuses calls through a pointer

#include "tests/sim/device.h"
#include "tests/sim/tensor.h"
