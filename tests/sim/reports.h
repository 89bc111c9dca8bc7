// Collecting what went wrong, and turning code addresses into names.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <string>

#include "tests/sim/control.h"

namespace cudasim {

// printf-style, so that a fiber which is about to be abandoned owns no heap memory.
void add_report(const char* what, const char* format, ...) __attribute__((format(printf, 2, 3)));

// The error that every runtime call returns once a kernel has failed, as on a real GPU.
cudaError_t sticky_error();
void set_sticky_error(cudaError_t error);

// "kernels/adam.cu" of "/home/me/elbo/kernels/adam.cu".
const char* short_path(const char* path);
// "adam.cu:12" of a code address, "?" without debug information.
std::string source_line(uintptr_t code_address);
// Mangled name of the function at an address; the pointer stays valid. nullptr if unknown.
const char* mangled_name(const void* function);
std::string kernel_name(const void* function);

}  // namespace cudasim
