// Writing NumPy's .npy format (engine/io/npy.h reads it): version 1.0, little-endian, C order.
//
// Numerics  elements keep their bits; the header is padded so that they begin at a multiple of 64 bytes
// Errors    ErrorCode::failure from the file system; all or nothing
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/io/file_ops.h"

namespace elbo {

// `shape` must multiply to the number of elements.
void write_npy(Fs& fs, const std::string& path, std::span<const float> elements,
               const std::vector<int64_t>& shape);
void write_npy(Fs& fs, const std::string& path, std::span<const uint8_t> elements,
               const std::vector<int64_t>& shape);
void write_npy(Fs& fs, const std::string& path, std::span<const int32_t> elements,
               const std::vector<int64_t>& shape);

}  // namespace elbo
