// Names that exist only in CUDA device code: thread indices, barriers, shuffles, votes, atomics and
// intrinsics. Part of cudasim.h.
#pragma once

#include <cuda_runtime.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <source_location>
#include <tuple>
#include <type_traits>
#include <utility>

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

namespace cudasim {

using Site = std::source_location;

enum class BarrierOp { plain, count, all, any };
// Of these only `sync` (__syncwarp) orders memory; shuffles and votes do not, as CUDA says.
enum class WarpOp { sync, shuffle, vote };
struct WarpResult {
  uint64_t value;
  uint32_t votes;
};

int block_barrier(BarrierOp op, int predicate, const Site& site);
WarpResult warp_exchange(uint32_t mask, WarpOp op, uint64_t value, int source_lane,
                         const Site& site);
int lane();
// Launches run one after another here, so it only notes that the thread has called it.
void wait_for_previous();
void memory_fence();
// Called before an atomic reads its operand: may let another thread run, and tells the race
// checker.
void before_atomic(void* address, size_t bytes, const Site& site);
// A copy that the race checker does not see; it would look like a plain access.
void untracked_copy(void* to, const void* from, size_t bytes);
void* dynamic_shared();
[[noreturn]] void trap(const Site& site);

// One launch, type-erased: `body(closure)` is one thread's run of the kernel.
struct Launch {
  const void* kernel = nullptr;
  dim3 grid, block;
  size_t shared_bytes = 0;
  bool overlaps = false;  // may start before the kernel in front of it has ended
  std::shared_ptr<void> closure;
  size_t closure_bytes = 0;
  void (*body)(void*) = nullptr;
};
cudaError_t launch_erased(Launch launch, cudaStream_t stream, const void* const* pointers,
                          int pointer_count);

template <class T>
const void* pointer_argument(const T& argument) {
  if constexpr (std::is_pointer_v<T> && !std::is_function_v<std::remove_pointer_t<T>>) {
    return const_cast<const void*>(static_cast<const volatile void*>(argument));
  } else {
    return nullptr;
  }
}

template <class... Params, class... Args>
cudaError_t launch(void (*kernel)(Params...), dim3 grid, dim3 block, size_t shared_bytes,
                   cudaStream_t stream, bool overlaps, Args&&... args) {
  struct Closure {
    void (*kernel)(Params...);
    std::tuple<Params...> args;
  };
  auto closure = std::make_shared<Closure>(
      Closure{kernel, std::tuple<Params...>(std::forward<Args>(args)...)});
  const auto body = [](void* erased) {
    auto* c = static_cast<Closure*>(erased);
    std::apply(c->kernel, c->args);
  };
  return std::apply(
      [&](const auto&... argument) {
        const void* pointers[] = {pointer_argument(argument)..., nullptr};
        return launch_erased(Launch{reinterpret_cast<const void*>(kernel), grid, block,
                                    shared_bytes, overlaps, closure, sizeof(Closure), body},
                             stream, pointers, sizeof...(Params));
      },
      closure->args);
}

template <class T>
T shuffle(uint32_t mask, T value, int source_lane, const Site& site) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = warp_exchange(mask, WarpOp::shuffle, bits, source_lane, site).value;
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

template <class T, class Update>
T atomic_update(T* address, Update update, const Site& site) {
  before_atomic(address, sizeof(T), site);
  T old;
  untracked_copy(&old, address, sizeof(T));
  const T updated = update(old);
  untracked_copy(address, &updated, sizeof(T));
  return old;
}

}  // namespace cudasim

// ---- barriers and votes -------------------------------------------------------------------------

#define CUDASIM_SITE const cudasim::Site& site = cudasim::Site::current()

inline void __syncthreads(CUDASIM_SITE) {
  cudasim::block_barrier(cudasim::BarrierOp::plain, 0, site);
}
inline int __syncthreads_count(int predicate, CUDASIM_SITE) {
  return cudasim::block_barrier(cudasim::BarrierOp::count, predicate, site);
}
inline int __syncthreads_and(int predicate, CUDASIM_SITE) {
  return cudasim::block_barrier(cudasim::BarrierOp::all, predicate, site);
}
inline int __syncthreads_or(int predicate, CUDASIM_SITE) {
  return cudasim::block_barrier(cudasim::BarrierOp::any, predicate, site);
}
inline void __syncwarp(unsigned mask = ~0u, CUDASIM_SITE) {
  cudasim::warp_exchange(mask, cudasim::WarpOp::sync, 0, 0, site);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, CUDASIM_SITE) {
  return cudasim::warp_exchange(mask, cudasim::WarpOp::vote, predicate != 0, 0, site).votes;
}
inline int __any_sync(unsigned mask, int predicate, CUDASIM_SITE) {
  return __ballot_sync(mask, predicate, site) != 0;
}
inline int __all_sync(unsigned mask, int predicate, CUDASIM_SITE) {
  return __ballot_sync(mask, predicate, site) == mask;
}

// ---- shuffles: a source outside the segment of `width` lanes means one's own value --------------

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, CUDASIM_SITE) {
  const int segment = cudasim::lane() & ~(width - 1);
  return cudasim::shuffle(mask, value, segment | (source & (width - 1)), site);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, CUDASIM_SITE) {
  const int lane = cudasim::lane(), source = lane - static_cast<int>(delta);
  return cudasim::shuffle(mask, value, source < (lane & ~(width - 1)) ? lane : source, site);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, CUDASIM_SITE) {
  const int lane = cudasim::lane(), source = lane + static_cast<int>(delta);
  return cudasim::shuffle(mask, value, source > (lane | (width - 1)) ? lane : source, site);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, CUDASIM_SITE) {
  const int lane = cudasim::lane(), source = lane ^ lane_mask;
  return cudasim::shuffle(mask, value, source > (lane | (width - 1)) ? lane : source, site);
}

// ---- fences and atomics. A block's own fence needs no event: barriers order its threads ---------

inline void __threadfence() { cudasim::memory_fence(); }
inline void __threadfence_block() {}

template <class T, class V>
T atomicAdd(T* address, V value, CUDASIM_SITE) {
  return cudasim::atomic_update(
      address, [=](T old) { return T(old + T(value)); }, site);
}
template <class T, class V>
T atomicSub(T* address, V value, CUDASIM_SITE) {
  return cudasim::atomic_update(
      address, [=](T old) { return T(old - T(value)); }, site);
}
template <class T, class V>
T atomicMax(T* address, V value, CUDASIM_SITE) {
  return cudasim::atomic_update(
      address, [=](T old) { return old > T(value) ? old : T(value); }, site);
}
template <class T, class V>
T atomicMin(T* address, V value, CUDASIM_SITE) {
  return cudasim::atomic_update(
      address, [=](T old) { return old < T(value) ? old : T(value); }, site);
}
template <class T, class V>
T atomicOr(T* address, V value, CUDASIM_SITE) {
  return cudasim::atomic_update(
      address, [=](T old) { return T(old | T(value)); }, site);
}
template <class T, class V>
T atomicAnd(T* address, V value, CUDASIM_SITE) {
  return cudasim::atomic_update(
      address, [=](T old) { return T(old & T(value)); }, site);
}
template <class T, class V>
T atomicExch(T* address, V value, CUDASIM_SITE) {
  return cudasim::atomic_update(
      address, [=](T) { return T(value); }, site);
}
template <class T, class V>
T atomicInc(T* address, V limit, CUDASIM_SITE) {
  return cudasim::atomic_update(
      address, [=](T old) { return old >= T(limit) ? T(0) : T(old + 1); }, site);
}
template <class T, class C, class V>
T atomicCAS(T* address, C expected, V value, CUDASIM_SITE) {
  return cudasim::atomic_update(
      address, [=](T old) { return old == T(expected) ? T(value) : old; }, site);
}

inline void __trap(CUDASIM_SITE) { cudasim::trap(site); }

// ---- intrinsics ---------------------------------------------------------------------------------

template <class T>
T __ldg(const T* p) {
  return *p;
}
template <class T>
T __ldcs(const T* p) {
  return *p;
}
template <class T>
void __stcs(T* p, T value) {
  *p = value;
}
inline float __int_as_float(int v) { return std::bit_cast<float>(v); }
inline float __uint_as_float(unsigned v) { return std::bit_cast<float>(v); }
inline int __float_as_int(float v) { return std::bit_cast<int>(v); }
inline unsigned __float_as_uint(float v) { return std::bit_cast<unsigned>(v); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __frcp_rn(float v) { return 1.0f / v; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fmaf_rn(float a, float b, float c) { return std::fmaf(a, b, c); }
inline float __fsqrt_rn(float v) { return std::sqrt(v); }
inline float __saturatef(float v) { return v > 0.0f ? (v < 1.0f ? v : 1.0f) : 0.0f; }
inline int __popc(unsigned v) { return std::popcount(v); }
inline int __clz(int v) { return std::countl_zero(static_cast<unsigned>(v)); }
inline int __ffs(int v) { return __builtin_ffs(v); }
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(static_cast<uint64_t>(a) * b >> 32);
}
// glibc keeps these names to itself: it declares some of them and exports none.
#define __expf(x) expf(x)
#define __logf(x) logf(x)
#define __log2f(x) log2f(x)
#define __powf(x, y) powf(x, y)
#define __sinf(x) sinf(x)
#define __cosf(x) cosf(x)

template <class A, class B>
constexpr std::common_type_t<A, B> min(A a, B b) {
  using C = std::common_type_t<A, B>;
  return static_cast<C>(b) < static_cast<C>(a) ? static_cast<C>(b) : static_cast<C>(a);
}
template <class A, class B>
constexpr std::common_type_t<A, B> max(A a, B b) {
  using C = std::common_type_t<A, B>;
  return static_cast<C>(a) < static_cast<C>(b) ? static_cast<C>(b) : static_cast<C>(a);
}

#undef CUDASIM_SITE
