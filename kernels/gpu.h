// What .cu files and CUDA host code (*_cuda.cpp) include to reach the GPU, real or simulated.
//
//   gpu::launch(kernel<float>, grid, block, shared_bytes, stream, args...);
//   ELBO_CUDA_CHECK(cudaMalloc(&p, bytes));
//   ELBO_DYN_SHARED(float, tile);              // dynamic shared memory of this launch
//   gpu::warp_sum(v), gpu::block_sum(v, scratch)
//
// Kernels are launched through gpu::launch only, never <<<>>>, so that one source runs under nvcc
// and under tests/sim, every launch is checked, and a failed one is named. Template arguments of
// the kernel must be written out. Inline PTX belongs here, behind a function that has a portable
// body.
//
// Errors    elbo::Error with ErrorCode::device, naming the call or the kernel with its
// configuration. In a build without CUDA the header is empty: .cu files put their device half
// behind ELBO_HAS_CUDA.
#pragma once

#ifdef ELBO_HAS_CUDA

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "kernels/exec.h"

namespace elbo::gpu {

// Where a kernel is launched: behind what the stream holds. With `overlaps` (programmatic dependent
// launch, compute capability 9.0 on) its blocks may start before the kernel in front of it has ended, so
// it must call wait_for_previous() before it touches global memory.
struct LaunchOrder {
  LaunchOrder(cudaStream_t s) : stream(s) {}
  cudaStream_t stream;
  bool overlaps = false;
};

// For kernels that begin with wait_for_previous().
inline LaunchOrder overlapping(const Exec& exec) {
  LaunchOrder order(exec.stream);
  order.overlaps = exec.overlap_launches;
  return order;
}

// Throws for a failed runtime call and clears the error, so that the next call does not report it
// again. Errors that lose the context (an illegal address) cannot be cleared; the message says so.
[[noreturn]] void throw_cuda_error(cudaError_t status, const char* call, const char* file,
                                   int line);

// Launches since the program started. Tests use it to fail a CUDA case that never reached the GPU.
uint64_t launch_count();

// Counts a launch made by somebody else on our behalf, such as a cuBLASLt product.
void note_launch();

// Whether every launch waits for its kernel: ELBO_SYNC=1 in the environment.
bool sync_after_launch();

// What launch() does after the driver took or refused the kernel: counts, throws if refused, and
// with ELBO_SYNC=1 in the environment waits for the kernel so that its failure bears its name.
void finish_launch(cudaError_t status, const void* kernel, dim3 grid, dim3 block,
                   size_t shared_bytes, cudaStream_t stream);

}  // namespace elbo::gpu

#define ELBO_CUDA_CHECK(call)                                                 \
  do {                                                                        \
    const cudaError_t elbo_status_ = (call);                                  \
    if (elbo_status_ != cudaSuccess) {                                        \
      ::elbo::gpu::throw_cuda_error(elbo_status_, #call, __FILE__, __LINE__); \
    }                                                                         \
  } while (false)

#if defined(__CUDACC__) || defined(CUDASIM)  // device code

#ifdef CUDASIM
#define ELBO_DYN_SHARED(T, name) T* name = static_cast<T*>(::cudasim::dynamic_shared())
#else
// One name and one type for all kernels: extern __shared__ arrays of one file share a symbol.
#define ELBO_DYN_SHARED(T, name)                                    \
  extern __shared__ __align__(16) unsigned char elbo_dyn_shared_[]; \
  T* name = reinterpret_cast<T*>(elbo_dyn_shared_)
#endif

namespace elbo::gpu {

template <class... Params, class... Args>
void launch(void (*kernel)(Params...), dim3 grid, dim3 block, size_t shared_bytes,
            const LaunchOrder& order, Args&&... args) {
#ifdef CUDASIM
  const cudaError_t status = ::cudasim::launch(kernel, grid, block, shared_bytes, order.stream,
                                               order.overlaps, std::forward<Args>(args)...);
#else
  cudaLaunchAttribute overlap = {};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = order.stream;
  config.attrs = &overlap;
  config.numAttrs = order.overlaps ? 1 : 0;
  const cudaError_t status = cudaLaunchKernelEx(&config, kernel, std::forward<Args>(args)...);
#endif
  finish_launch(status, reinterpret_cast<const void*>(kernel), grid, block, shared_bytes,
                order.stream);
}

// First statement of a kernel that is launched with overlapping(): lets the kernel behind it start, as
// far as there is room, and waits until the one in front of it has ended and its writes are visible.
// No effect in other launches and in code for compute capabilities before 9.0. All threads call.
__device__ inline void wait_for_previous() {
#ifdef CUDASIM
  ::cudasim::wait_for_previous();
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Sum over the 32 lanes of a full warp; every lane gets the same bits. The butterfly adds pairs at
// distance 16, 8, 4, 2, 1: a fixed tree, and a + b == b + a makes its mirror images agree.
__device__ inline float warp_sum(float v) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    v += __shfl_xor_sync(0xffffffffu, v, distance);
  }
  return v;
}

inline constexpr int kBlockSumScratch = 33;  // one sum per warp of 1024 threads, and the total

// Sum over a block; every thread gets the same bits. Warps are summed by warp_sum, then the sums of
// the warps, in warp order, by warp_sum again.
//
// `scratch` is kBlockSumScratch floats of shared memory; blockDim.x is a multiple of 32, the block
// is one-dimensional and *all* its threads call (two barriers inside). Calls may follow one another
// on the same scratch without a barrier: a thread that is already in the next call writes only
// scratch[warp], which warp 0 finished reading before the second barrier here, and scratch[32] is
// next written behind the next call's first barrier, which every reader of the old total has
// reached.
__device__ inline float block_sum(float v, float* scratch) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  v = warp_sum(v);
  if (lane == 0) scratch[warp] = v;
  __syncthreads();
  if (warp == 0) {
    const float total = warp_sum(lane < warps ? scratch[lane] : 0.0f);
    if (lane == 0) scratch[32] = total;
  }
  __syncthreads();
  return scratch[32];
}

}  // namespace elbo::gpu

#endif  // device code
#endif  // ELBO_HAS_CUDA
