#include "kernels/sprites.h"

#include <algorithm>

#include "kernels/error.h"
#include "kernels/parallel.h"
#ifdef ELBO_HAS_CUDA
#include "kernels/gpu.h"
#endif

namespace elbo {
namespace {

ELBO_HD int64_t sprite_of_row(const SpriteGather& args, int64_t row) {
  return sprite_of_item(args.split_seed, args.offset + ordered_sample(args.order, row));
}

// What a row says about itself beside its pixels.
ELBO_HD void note_sprite(const SpriteGather& args, int64_t row, int64_t index,
                         const SpriteFactors& factors) {
  if (args.index) args.index[row] = static_cast<int32_t>(index);
  if (args.shape) args.shape[row] = factors.shape;
  for (int k = 0; k < args.attribute_count; ++k)
    args.attributes[row * args.attribute_count + k] = sprite_attribute(factors, args.attribute[k]);
}

template <int Shape>
ELBO_HD void draw_image(const SpritePose& pose, int resolution, float* image) {
  const float pixel = 1.0f / static_cast<float>(resolution);
  for (int row = 0; row < resolution; ++row) {
#pragma omp simd
    for (int col = 0; col < resolution; ++col) {
      image[int64_t{row} * resolution + col] = sprite_value<Shape>(pose, pixel, row, col);
    }
  }
}

ELBO_CLONES void sprites_range(SpriteGather args, int64_t begin, int64_t end) {
  const int64_t pixels = int64_t{args.resolution} * args.resolution;
  for (int64_t row = begin; row < end; ++row) {
    const int64_t index = sprite_of_row(args, row);
    const SpriteFactors factors = sprite_factors(index);
    note_sprite(args, row, index, factors);
    const SpritePose pose = sprite_pose(factors);
    float* image = args.x + row * pixels;
    switch (factors.shape) {
      case 0:
        draw_image<0>(pose, args.resolution, image);
        break;
      case 1:
        draw_image<1>(pose, args.resolution, image);
        break;
      default:
        draw_image<2>(pose, args.resolution, image);
        break;
    }
    if (args.x_bf16) {
      for (int64_t i = 0; i < pixels; ++i) {
        args.x_bf16[row * pixels + i] = from_float<bf16>(image[i]);
      }
    }
  }
}

#ifdef ELBO_HAS_CUDA

// Enough blocks to fill 132 SMs at 8 each; beyond that blocks loop over images.
constexpr int64_t kMaxBlocks = 1056;

struct alignas(16) FourFloats {
  float v[4];
};

// Pixels p .. p + 3 of one image row.
template <int Shape>
__device__ FourFloats four_pixels(const SpritePose& pose, float pixel, int resolution, int p) {
  const int row = p / resolution, col = p - row * resolution;
  return {sprite_value<Shape>(pose, pixel, row, col),
          sprite_value<Shape>(pose, pixel, row, col + 1),
          sprite_value<Shape>(pose, pixel, row, col + 2),
          sprite_value<Shape>(pose, pixel, row, col + 3)};
}

// Draws the block's share of one image: a thread takes four neighbouring pixels of a row at a time
// where the resolution is a multiple of 4 (Vectorised), else one.
template <int Shape, bool Vectorised>
__device__ void draw_image_block(const SpritePose& pose, int resolution, float* image,
                                 bf16* rounded) {
  const float pixel = 1.0f / static_cast<float>(resolution);
  const int pixels = resolution * resolution, width = Vectorised ? 4 : 1;
  for (int p = width * threadIdx.x; p < pixels; p += width * blockDim.x) {
    if constexpr (Vectorised) {
      *reinterpret_cast<FourFloats*>(image + p) = four_pixels<Shape>(pose, pixel, resolution, p);
    } else {
      image[p] = sprite_value<Shape>(pose, pixel, p / resolution, p % resolution);
    }
    if (!rounded) continue;
    for (int i = p; i < p + width; ++i) rounded[i] = from_float<bf16>(image[i]);
  }
}

// One block owns one image (striding over the batch). Thread 0 alone finds the sprite and its pose,
// two keyed permutations and a sine; the second barrier keeps it from overwriting them while others
// still read. The shape is uniform across the block, so the switch does not diverge.
template <bool Vectorised>
__global__ void __launch_bounds__(256) sprites_kernel(SpriteGather args) {
  gpu::wait_for_previous();
  __shared__ SpritePose shared_pose;
  __shared__ int shared_shape;
  for (int64_t row = blockIdx.x; row < args.batch; row += gridDim.x) {
    if (threadIdx.x == 0) {
      const int64_t index = sprite_of_row(args, row);
      const SpriteFactors factors = sprite_factors(index);
      shared_pose = sprite_pose(factors);
      shared_shape = factors.shape;
      note_sprite(args, row, index, factors);
    }
    __syncthreads();
    const SpritePose pose = shared_pose;
    const int shape = shared_shape;
    __syncthreads();
    const int64_t at = row * args.resolution * args.resolution;
    float* image = args.x + at;
    bf16* rounded = args.x_bf16 ? args.x_bf16 + at : nullptr;
    if (shape == 0) {
      draw_image_block<0, Vectorised>(pose, args.resolution, image, rounded);
    } else if (shape == 1) {
      draw_image_block<1, Vectorised>(pose, args.resolution, image, rounded);
    } else {
      draw_image_block<2, Vectorised>(pose, args.resolution, image, rounded);
    }
  }
}

void sprites_cuda(const Exec& exec, const SpriteGather& args) {
  const auto grid = static_cast<unsigned>(std::min<int64_t>(args.batch, kMaxBlocks));
  if (args.resolution % 4 == 0 && reinterpret_cast<uintptr_t>(args.x) % 16 == 0) {
    gpu::launch(sprites_kernel<true>, grid, 256, 0, gpu::overlapping(exec), args);
  } else {
    gpu::launch(sprites_kernel<false>, grid, 256, 0, gpu::overlapping(exec), args);
  }
}

#endif

}  // namespace

void gather_sprites([[maybe_unused]] const Exec& exec, const SpriteGather& args) {
  constexpr int kMaxResolution = 16384;  // pixel numbers of an image fit an int
  if (args.batch == 0) return;
  ELBO_CHECK(args.x, "gather_sprites: x is null");
  ELBO_CHECK(args.resolution >= 1 && args.resolution <= kMaxResolution,
             "gather_sprites: resolution is ", args.resolution, "; needs 1 to ", kMaxResolution);
  ELBO_CHECK(args.attribute_count >= 0 && args.attribute_count <= kSpriteAttributes &&
                 (args.attributes || args.attribute_count == 0),
             "gather_sprites: ", args.attribute_count, " attributes of ", kSpriteAttributes,
             args.attributes ? "" : ", and attributes is null");
  ELBO_CHECK(args.offset >= 0 && args.order.samples > 0 &&
                 args.order.samples <= kSpriteCount - args.offset,
             "gather_sprites: items ", args.offset, " to ", args.offset + args.order.samples,
             " are not all among the ", kSpriteCount, " sprites");
#ifdef ELBO_HAS_CUDA
  if (exec.on_cuda()) return sprites_cuda(exec, args);
#endif
  cpu::parallel_ranges(
      args.batch, [&](int64_t begin, int64_t end) { sprites_range(args, begin, end); },
      int64_t{args.resolution} * args.resolution);
}

}  // namespace elbo
