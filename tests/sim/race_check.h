// Entry point of every memory access that a kernel makes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cudasim::race {

enum class Kind { read, write, atomic };

// `code` is the address of the accessing instruction. Accesses outside of kernels are ignored.
void on_access(const void* address, size_t bytes, Kind kind, const void* code);
// The same for an access that the compiler believes to be aligned to its size.
void on_aligned_access(const void* address, size_t bytes, Kind kind, const void* code);

}  // namespace cudasim::race
