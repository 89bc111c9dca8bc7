// How a parameter starts.
#pragma once

#include <cstdint>
#include <string_view>

#include "engine/tensor.h"

namespace elbo {

enum class InitKind : int {
  zeros,
  constant,       // scale
  torch_uniform,  // U(-1/sqrt(fan_in), 1/sqrt(fan_in)): PyTorch's default for Linear and Conv, bias
                  // too
  glorot_uniform,  // U(-a, a), a = sqrt(6 / (fan_in + fan_out))
  he_normal,       // N(0, 2 / fan_in)
  normal,          // N(0, scale^2)
};

struct Initialiser {
  InitKind kind = InitKind::torch_uniform;
  float scale = 1.0f;
  int64_t fan_in = 0;
  int64_t fan_out = 0;
};

InitKind parse_init_kind(
    std::string_view name);  // "torch", "glorot", "he", "normal"; Error otherwise
const char* init_kind_name(InitKind kind);

// Fills host memory with parameter number `stream` of `seed`.
void initialise_host(const Initialiser& init, uint64_t seed, uint32_t stream, int64_t count,
                     float* values);

}  // namespace elbo
