// The auditor's randomness: the standard library's, with nothing in common with the engine's Philox.
#pragma once

#include <cstdint>
#include <random>

namespace elbo {

enum class AuditStream : uint64_t { binarise = 1, posterior, importance, corrupt, dequantise };

// A bijection that scatters neighbouring numbers (Steele, Lea & Flood 2014, splitmix64).
inline uint64_t audit_scatter(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// One generator per image and purpose, so that results depend neither on threads nor on batches.
inline std::mt19937_64 audit_engine(uint64_t seed, AuditStream stream, int64_t image) {
  const uint64_t of_run = audit_scatter(audit_scatter(seed) ^ static_cast<uint64_t>(stream));
  return std::mt19937_64(audit_scatter(of_run ^ static_cast<uint64_t>(image)));
}

}  // namespace elbo
