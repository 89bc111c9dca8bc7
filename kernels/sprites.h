// Procedural sprites: white shapes on black with known factors of variation, after dSprites.
//
//   shape        square, ellipse, heart
//   scale        6 values, 0.5 to 1 in equal steps
//   orientation  40 values, 0 to 2 pi in equal steps, the end left out (dSprites repeats it)
//   pos_x/pos_y  32 x 32 positions of the sprite's centre, over the middle 56 % of the image
//
// 3 * 6 * 40 * 32 * 32 = 737,280 images. As in dSprites, an index counts through the factors with
// pos_y fastest, and pixels are 0 or 1: a pixel is 1 where its centre lies in the shape. Images are
// computed where they are needed, at any resolution, and never stored.
//
// In units of the image side, a sprite of scale s lies in a circle of radius 0.2 s around its
// centre, and centres keep 0.22 from the border: no sprite is ever cut. In units of that radius,
// turned by the orientation (counter-clockwise), v pointing up:
//
//   square       |u| <= 1/sqrt(2) and |v| <= 1/sqrt(2)
//   ellipse      u^2 + (2 v)^2 <= 1
//   heart        (x^2 + y^2 - 1)^3 <= x^2 y^3,   x = 5/4 u,  y = 5/4 v + 1/4
//
// What the factors are as numbers, in the units of dSprites' latents_values:
//
//   x, y          0 to 1 over the 32 positions, from left to right and from top to bottom
//   size          the scale, 0.5 to 1
//   orientation   radians, 0 to below 2 pi
//
// A sprite set is a keyed random subset: item i is sprite shuffled_index(i) of a permutation that
// split_seed fixes. Sets with one split_seed and disjoint item ranges (train, held-out) share no
// sprite.
//
// Shapes    x [B, resolution^2] row-major, row 0 at the top; index [B] sprite index of each row;
//           attributes [B, A]
// Work      one launch; writes 4 B resolution^2 bytes, reads nothing; some 15 operations per pixel
// Numerics  same bits on both devices. Quarter turns are exact: the 40 squares at one place are 10
//           images, each four times.
// Errors    elbo::Error if x is null, resolution < 1, there are more attributes than names of them,
//           or the set does not lie within 737,280 items
// Source    Matthey, Higgins, Hassabis & Lerchner 2017, github.com/google-deepmind/dsprites-dataset
#pragma once

#include <cstdint>

#include "kernels/batch_order.h"
#include "kernels/exec.h"
#include "kernels/math.h"
#include "kernels/portability.h"
#include "kernels/shuffle.h"
#include "kernels/storage.h"

namespace elbo {

inline constexpr int kSpriteShapes = 3;
inline constexpr int kSpriteScales = 6;
inline constexpr int kSpriteOrientations = 40;
inline constexpr int kSpritePositions = 32;
inline constexpr int64_t kSpriteCount = int64_t{kSpriteShapes} * kSpriteScales *
                                        kSpriteOrientations * kSpritePositions * kSpritePositions;

struct SpriteFactors {
  int shape = 0;  // 0 square, 1 ellipse, 2 heart
  int scale = 0;
  int orientation = 0;
  int pos_x = 0;  // left to right
  int pos_y = 0;  // top to bottom
};

ELBO_HD SpriteFactors sprite_factors(int64_t index) {
  auto rest = static_cast<uint32_t>(index);
  SpriteFactors f;
  f.pos_y = static_cast<int>(rest % kSpritePositions);
  rest /= kSpritePositions;
  f.pos_x = static_cast<int>(rest % kSpritePositions);
  rest /= kSpritePositions;
  f.orientation = static_cast<int>(rest % kSpriteOrientations);
  rest /= kSpriteOrientations;
  f.scale = static_cast<int>(rest % kSpriteScales);
  f.shape = static_cast<int>(rest / kSpriteScales);
  return f;
}

ELBO_HD int64_t sprite_index(const SpriteFactors& f) {
  int64_t index = f.shape;
  index = index * kSpriteScales + f.scale;
  index = index * kSpriteOrientations + f.orientation;
  index = index * kSpritePositions + f.pos_x;
  return index * kSpritePositions + f.pos_y;
}

ELBO_HD float sprite_size(const SpriteFactors& f) {
  return 0.5f + 0.1f * static_cast<float>(f.scale);
}

inline constexpr int kSpriteAttributes = 4;
inline constexpr const char* kSpriteAttributeNames[kSpriteAttributes] = {"x", "y", "size",
                                                                         "orientation"};

// The one of that number.
ELBO_HD float sprite_attribute(const SpriteFactors& f, int which) {
  constexpr float kTwoPi = 6.28318531f;
  constexpr float kLast = kSpritePositions - 1;
  if (which == 0) return static_cast<float>(f.pos_x) / kLast;
  if (which == 1) return static_cast<float>(f.pos_y) / kLast;
  if (which == 2) return sprite_size(f);
  return kTwoPi / kSpriteOrientations * static_cast<float>(f.orientation);
}

// Sprite index of an item of the set that split_seed defines.
ELBO_HD int64_t sprite_of_item(uint64_t split_seed, int64_t item) {
  return static_cast<int64_t>(
      shuffled_index(static_cast<uint64_t>(item), kSpriteCount, shuffle_key(split_seed, 0)));
}

// A sprite's map from the image to shape coordinates: u = cos dx + sin dy, v = cos dy - sin dx for
// a pixel centre (dx, dy) off the sprite's centre, with 1/radius folded into cos and sin.
struct SpritePose {
  float center_x, center_y;  // in image sides from the top left
  float cos, sin;
};

ELBO_HD SpritePose sprite_pose(const SpriteFactors& f) {
  constexpr float kRadius = 0.2f, kMargin = 0.22f;
  constexpr float kStep = (1.0f - 2.0f * kMargin) / (kSpritePositions - 1);
  constexpr int kQuarter = kSpriteOrientations / 4;
  const float zoom = 1.0f / (kRadius * sprite_size(f));
  const math::SinCos turn = math::sincos_turns(static_cast<float>(f.orientation % kQuarter) /
                                               static_cast<float>(kSpriteOrientations));
  const float c = zoom * turn.cos, s = zoom * turn.sin;
  SpritePose pose{kMargin + kStep * static_cast<float>(f.pos_x),
                  kMargin + kStep * static_cast<float>(f.pos_y), c, s};
  switch (f.orientation / kQuarter) {  // further quarter turns, exactly
    case 1:
      pose.cos = -s, pose.sin = c;
      break;
    case 2:
      pose.cos = -c, pose.sin = -s;
      break;
    case 3:
      pose.cos = s, pose.sin = -c;
      break;
    default:
      break;
  }
  return pose;
}

// Whether (u, v) lies in the shape.
template <int Shape>
ELBO_HD bool sprite_covers(float u, float v) {
  if constexpr (Shape == 0) {
    constexpr float kHalf = 0.70710678f;  // 1/sqrt(2): corners on the unit circle
    return math::abs(u) <= kHalf && math::abs(v) <= kHalf;
  } else if constexpr (Shape == 1) {
    return u * u + 4.0f * (v * v) <= 1.0f;
  } else {
    // 5/4 and 1/4: the smallest circle around the curve has radius 5/4 and its centre at (0, 1/4).
    const float x = 1.25f * u, y = 1.25f * v + 0.25f;
    const float xx = x * x, yy = y * y;
    const float ring = xx + yy - 1.0f;
    return ring * ring * ring <= xx * (yy * y);
  }
}

// `pixel` is one over the resolution.
template <int Shape>
ELBO_HD float sprite_value(const SpritePose& pose, float pixel, int row, int col) {
  const float dx = (static_cast<float>(col) + 0.5f) * pixel - pose.center_x;
  const float dy = pose.center_y - (static_cast<float>(row) + 0.5f) * pixel;
  const float u = pose.cos * dx + pose.sin * dy;
  const float v = pose.cos * dy - pose.sin * dx;
  return sprite_covers<Shape>(u, v) ? 1.0f : 0.0f;
}

// One pixel of one sprite: the definition that the batch launcher follows bit by bit.
ELBO_HD float sprite_pixel(const SpriteFactors& f, int resolution, int row, int col) {
  const SpritePose pose = sprite_pose(f);
  const float pixel = 1.0f / static_cast<float>(resolution);
  switch (f.shape) {
    case 0:
      return sprite_value<0>(pose, pixel, row, col);
    case 1:
      return sprite_value<1>(pose, pixel, row, col);
    default:
      return sprite_value<2>(pose, pixel, row, col);
  }
}

// A batch of the set of order.samples sprites that starts at item `offset`.
struct SpriteGather {
  int resolution = 0;
  int64_t batch = 0;
  BatchOrder order;
  int64_t offset = 0;
  float* x = nullptr;
  bf16* x_bf16 = nullptr;    // x once more, rounded; may be null
  int32_t* index = nullptr;  // may be null
  int32_t* shape = nullptr;  // SpriteFactors::shape of each row; may be null
  // The attributes of these numbers of each row, [B, attribute_count]; may be null.
  float* attributes = nullptr;
  int attribute_count = 0;
  int attribute[kSpriteAttributes] = {};
  uint64_t split_seed = 0;
};

void gather_sprites(const Exec& exec, const SpriteGather& args);

}  // namespace elbo
