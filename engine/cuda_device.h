// The CUDA runtime calls that engine/context.cpp needs, so that it compiles without CUDA's headers.
// Defined in cuda_device_cuda.cpp, which only CUDA builds contain.
#pragma once

#include <cstddef>
#include <string>

#include "kernels/exec.h"

namespace elbo::cuda_device {

// Empty if device `index` is usable, otherwise one line that says why not.
std::string why_unusable(int index);
std::string describe(int index);

void use(int index);
Stream create_stream();
void destroy_stream(Stream stream) noexcept;
void synchronize(Stream stream);

void* allocate(size_t bytes);  // null when there is no memory left
void free(void* data) noexcept;
size_t free_bytes();

void upload(void* device_data, const void* host_data, size_t bytes, Stream stream);
void download(void* host_data, const void* device_data, size_t bytes, Stream stream);
void copy(void* to, const void* from, size_t bytes, Stream stream);
void fill_bytes(void* device_data, int value, size_t bytes, Stream stream);

}  // namespace elbo::cuda_device
