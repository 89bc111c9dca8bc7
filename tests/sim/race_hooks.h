// What the simulator tells the race checker. Without ELBO_RACECHECK all of it is empty.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tests/sim/device.h"

namespace cudasim::race {

#ifdef CUDASIM_RACECHECK
inline constexpr bool kEnabled = true;
void begin_launch();
void begin_block(int threads);
void barrier();                 // all threads of the block passed __syncthreads
void sync_warp(uint32_t mask);  // the lanes passed __syncwarp
void fence();                   // the current thread called __threadfence
void atomic_access(const void* address, size_t bytes, const Site& site);
void allocate(const void* pointer, size_t bytes);
void release(const void* pointer);
// The host or a copy wrote [pointer, +bytes). `from`, if device memory, passes on what it lacks.
void host_write(const void* pointer, size_t bytes, const void* from);
bool is_written(const void* pointer, size_t bytes);
void mark_unwritten(const void* pointer, size_t bytes);
void forget_reported();
#else
inline constexpr bool kEnabled = false;
inline void begin_launch() {}
inline void begin_block(int) {}
inline void barrier() {}
inline void sync_warp(uint32_t) {}
inline void fence() {}
inline void atomic_access(const void*, size_t, const Site&) {}
inline void allocate(const void*, size_t) {}
inline void release(const void*) {}
inline void host_write(const void*, size_t, const void*) {}
inline bool is_written(const void*, size_t) { return true; }
inline void mark_unwritten(const void*, size_t) {}
inline void forget_reported() {}
#endif

}  // namespace cudasim::race
