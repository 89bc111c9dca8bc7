#include "engine/initialiser.h"

#include <cmath>

#include "kernels/error.h"
#include "kernels/noise.h"

namespace elbo {
namespace {

struct NamedKind {
  const char* name;
  InitKind kind;
};
constexpr NamedKind kNames[] = {
    {"zeros", InitKind::zeros},         {"constant", InitKind::constant},
    {"torch", InitKind::torch_uniform}, {"glorot", InitKind::glorot_uniform},
    {"he", InitKind::he_normal},        {"normal", InitKind::normal},
};

float fan_bound(const Initialiser& init) {
  const auto fan_in = static_cast<double>(init.fan_in), fan_out = static_cast<double>(init.fan_out);
  if (init.kind == InitKind::torch_uniform) return static_cast<float>(1.0 / std::sqrt(fan_in));
  return static_cast<float>(std::sqrt(6.0 / (fan_in + fan_out)));
}

NoiseAddress address(uint32_t stream) {
  NoiseAddress at;
  at.purpose = NoisePurpose::init;
  at.sample = stream;
  return at;
}

}  // namespace

InitKind parse_init_kind(std::string_view name) {
  for (const NamedKind& entry : kNames) {
    if (name == entry.name) return entry.kind;
  }
  throw_error(ErrorCode::usage, "unknown initialisation '", name,
              "'; expected torch, glorot, he, normal, zeros or constant");
}

const char* init_kind_name(InitKind kind) {
  for (const NamedKind& entry : kNames) {
    if (entry.kind == kind) return entry.name;
  }
  return "?";
}

void initialise_host(const Initialiser& init, uint64_t seed, uint32_t stream, int64_t count,
                     float* values) {
  const NoiseKey key{seed};
  const NoiseAddress at = address(stream);
  const auto dimension = [](int64_t i) { return static_cast<uint64_t>(i); };
  switch (init.kind) {
    case InitKind::zeros:
    case InitKind::constant:
      for (int64_t i = 0; i < count; ++i) {
        values[i] = init.kind == InitKind::zeros ? 0.0f : init.scale;
      }
      return;
    case InitKind::torch_uniform:
    case InitKind::glorot_uniform: {
      ELBO_CHECK(init.fan_in > 0, "a uniform initialisation needs fan_in > 0");
      const float bound = fan_bound(init);
      for (int64_t i = 0; i < count; ++i) {
        values[i] = bound * (2.0f * uniform1(key, at, dimension(i)) - 1.0f);
      }
      return;
    }
    case InitKind::he_normal:
    case InitKind::normal: {
      const double he = std::sqrt(2.0 / static_cast<double>(std::max<int64_t>(init.fan_in, 1)));
      const float scale = init.kind == InitKind::normal ? init.scale : static_cast<float>(he);
      for (int64_t i = 0; i < count; ++i) values[i] = scale * normal1(key, at, dimension(i));
      return;
    }
  }
}

}  // namespace elbo
