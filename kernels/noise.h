// Random numbers addressed by what they are for: (seed, purpose, step, sample, draw, dimension).
//
// Every number is a pure function of that address. So backward recomputes the noise of forward in
// place of storing it, a resumed run continues the stream with nothing restored, an evaluation may
// be cut into any batches, and both devices see the same bits.
//
//   key      k0 = seed low 32 bits               k1 = seed high 32 bits
//   counter  c0 = dimension / 4                  one Philox call serves four dimensions
//            c1 = sample                       the row's place in its set (binarise, evaluate,
//                                              prior) or in the step's batch (latent)
//            c2 = step, low 32 bits
//            c3 = purpose << 24 | step bits 32..39 << 16 | draw
//
// Limits    step < 2^40, draw < 2^16 (the k of a k-sample bound), sample < 2^32, dimension < 2^34.
//           Addresses beyond them wrap and repeat.
// Numerics  uniforms are multiples of 2^-24 in [0, 1). Normals are Box-Muller on a 31-bit radius
//           and a 32-bit angle; |z| <= 6.67, a tail of 3e-11.
// Source    Box & Muller 1958; Salmon et al. 2011 (kernels/philox.h).
#pragma once

#include <cstdint>

#include "kernels/math.h"
#include "kernels/philox.h"
#include "kernels/portability.h"

namespace elbo {

struct NoiseKey {
  uint64_t seed = 0;
};

// Part of the stream's definition: numbers are never reused or changed, only added.
enum class NoisePurpose : uint32_t {
  latent = 1,    // epsilon of the reparameterised sample
  binarise = 2,  // fresh Bernoulli draws of grey pixels
  init = 3,      // initialisation; sample = number of the parameter tensor, dimension = element
  shuffle = 4,   // keys of the epoch permutations; step = epoch
  corrupt = 5,   // damage to training images, afresh each step (corruption.h)
  prior = 6,     // samples of the prior for pictures
  data = 7,      // procedural data sets
  evaluate = 8,  // the auditor's posterior samples
  dropout = 9,
  dequantise = 16,  // what lies between one stored value of a pixel and the next
  flip = 17,        // which images are mirrored
  match = 18,       // draws of the prior that a batch of latents is compared with
  tangent = 19,     // directions in which a derivative is taken
  pixels = 20,      // pictures drawn from a decoder's distribution
  permute = 21,     // orders that a discriminator's latents are shuffled in, by dimension
  labelled = 40,    // which images of a class have their label known
  codes = 23,       // which vectors of a batch codes of a codebook start from
  // As corrupt, of images that are not trained on: always the same.
  corrupt_fixed = 24,
};

// Which quadruples of numbers: everything of the address but the dimension.
struct NoiseAddress {
  NoisePurpose purpose = NoisePurpose::latent;
  uint64_t step = 0;
  uint32_t sample = 0;
  uint32_t draw = 0;
};

struct Four {
  float v0, v1, v2, v3;
};

// Element lane (0..3) by selects: an array indexed by a variable would not stay in registers.
ELBO_HD float lane_of(const Four& four, uint32_t lane) {
  const float low = (lane & 1u) != 0 ? four.v1 : four.v0;
  const float high = (lane & 1u) != 0 ? four.v3 : four.v2;
  return (lane & 2u) != 0 ? high : low;
}

// The raw bits behind dimensions 4 * quad .. 4 * quad + 3.
ELBO_HD PhiloxCounter noise_bits(NoiseKey key, NoiseAddress at, uint32_t quad) {
  const uint32_t step_high = static_cast<uint32_t>(at.step >> 32) & 0xffu;
  const uint32_t tag =
      (static_cast<uint32_t>(at.purpose) << 24) | (step_high << 16) | (at.draw & 0xffffu);
  return philox4x32(
      PhiloxCounter{quad, at.sample, static_cast<uint32_t>(at.step), tag},
      PhiloxKey{static_cast<uint32_t>(key.seed), static_cast<uint32_t>(key.seed >> 32)});
}

// Multiples of 2^-24 in [0, 1): u < p holds never for p = 0 and always for p = 1.
ELBO_HD float uniform_from_bits(uint32_t bits) {
  return static_cast<float>(static_cast<int32_t>(bits >> 8)) * 0x1p-24f;
}

struct NormalPair {
  float first, second;
};

// Signed conversions: unsigned ones have no AVX2 instruction. The radius' uniform lies in
// [2^-32, 1], never 0, so its logarithm is finite; the angle lies in [-1/2, 1/2] turns.
ELBO_HD NormalPair normals_from_bits(uint32_t radius_bits, uint32_t angle_bits) {
  const float u =
      math::fma(static_cast<float>(static_cast<int32_t>(radius_bits >> 1)), 0x1p-31f, 0x1p-32f);
  const float radius = math::sqrt(-2.0f * math::log(u));
  const math::SinCos angle =
      math::sincos_turns(static_cast<float>(static_cast<int32_t>(angle_bits)) * 0x1p-32f);
  return {radius * angle.cos, radius * angle.sin};
}

// Uniforms on [0, 1) for dimensions 4 * quad .. 4 * quad + 3.
ELBO_HD Four uniform4(NoiseKey key, NoiseAddress at, uint32_t quad) {
  const PhiloxCounter bits = noise_bits(key, at, quad);
  return {uniform_from_bits(bits.c0), uniform_from_bits(bits.c1), uniform_from_bits(bits.c2),
          uniform_from_bits(bits.c3)};
}

// Standard normals for dimensions 4 * quad .. 4 * quad + 3.
ELBO_HD Four normal4(NoiseKey key, NoiseAddress at, uint32_t quad) {
  const PhiloxCounter bits = noise_bits(key, at, quad);
  const NormalPair a = normals_from_bits(bits.c0, bits.c1);
  const NormalPair b = normals_from_bits(bits.c2, bits.c3);
  return {a.first, a.second, b.first, b.second};
}

// One dimension, the same number as in the quadruple. Element-wise code that has no quadruples at
// hand pays a whole Philox call for it, but only one Box-Muller transform.
ELBO_HD float uniform1(NoiseKey key, NoiseAddress at, uint64_t dimension) {
  const Four four = uniform4(key, at, static_cast<uint32_t>(dimension >> 2));
  return lane_of(four, static_cast<uint32_t>(dimension));
}

ELBO_HD float normal1(NoiseKey key, NoiseAddress at, uint64_t dimension) {
  const PhiloxCounter bits = noise_bits(key, at, static_cast<uint32_t>(dimension >> 2));
  const bool upper = (dimension & 2u) != 0;
  const NormalPair pair = normals_from_bits(upper ? bits.c2 : bits.c0, upper ? bits.c3 : bits.c1);
  return (dimension & 1u) != 0 ? pair.second : pair.first;
}

}  // namespace elbo
