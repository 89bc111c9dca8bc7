// The convolution kernel of tensor_conv.cu and tensor_conv_likelihood.cu: both directions of
// kernels/conv_backends.h as products of tiles.
//
// A direction says what is multiplied, in one or more phases of the same number of rows:
//
//   phases, rows, cols        of C in each phase
//   kJoint, channels()        whether columns are more than channels of the output (tensor_conv_joint.cuh),
//                             and how many channels it has
//   auto at(int phase)        {a, b, pixels}: the sources, and which pixel of the output a row is
#pragma once

#include <algorithm>
#include <type_traits>

#include "kernels/conv_backends.h"
#include "kernels/conv_gather.cuh"
#include "kernels/error.h"
#include "kernels/tensor_gemm.cuh"

namespace elbo::cuda {

// For images of a few channels, where wider tiles would multiply zeros.
using ThinTile = TileConfig<128, 8, 8, 1, 1, 2>;

template <class T>
struct TowardsFeatures {
  static constexpr Major kWeightMajor = Major::inner;
  static constexpr bool kJoint = false;
  Gather<T, Major::inner> image;
  Operand<T, Major::inner> weight;
  int phases;
  int64_t rows, cols;

  TowardsFeatures(const ConvGeometry& g, const T* in, const T* w)
      : image(gather_image<Major::inner>(g, in)),
        weight(make_operand<Major::inner>(w, g.features.channels, image.inner)),
        phases(1),
        rows(image.outer),
        cols(weight.outer) {}

  ELBO_HD int64_t channels() const { return cols; }

  struct Pixels {
    __device__ int64_t at(int64_t row) const { return row; }
  };
  struct Phase {
    Gather<T, Major::inner> a;
    Operand<T, Major::inner> b;
    Pixels pixels;
  };
  __device__ Phase at(int) const { return {image, weight, {}}; }
};

template <class T>
struct TowardsImage {
  static constexpr Major kWeightMajor = Major::outer;
  static constexpr bool kJoint = false;
  PhaseAxis y, x;
  const T* features;
  const T* weight;
  PixelGrid grid;
  FastDivisor depth;  // channels of the features
  bool feature_vectors, weight_vectors;
  int phases, phases_w, taps;
  int64_t rows, cols;

  TowardsImage(const ConvGeometry& g, const T* in, const T* w)
      : y(phase_axis_h(g)),
        x(phase_axis_w(g)),
        features(in),
        weight(w),
        grid(g.batch, y.positions(), x.positions()),
        depth(g.features.channels),
        feature_vectors(is_vector_aligned(in, g.features.channels)),
        weight_vectors(is_vector_aligned(w, g.image.channels)),
        phases(y.phases() * x.phases()),
        phases_w(x.phases()),
        taps(static_cast<int>(g.window.taps())),
        rows(grid.pixels),
        cols(g.image.channels) {}

  ELBO_HD int64_t channels() const { return cols; }

  struct Phase {
    Gather<T, Major::inner> a;
    PhaseWeight<T> b;
    PhasePixels pixels;
  };
  __device__ Phase at(int phase) const {
    const int phase_h = phase / phases_w, phase_w = phase % phases_w;
    const PhaseTaps taps_h = y.at(phase_h), taps_w = x.at(phase_w);
    const int64_t inner = int64_t{taps_h.count} * taps_w.count * depth.divisor;
    const bool most = taps_w.count == static_cast<int>(x.most.divisor);
    const FastDivisor by_taps_w = most ? x.most : x.fewer;
    return {.a = {features, rows, inner, feature_vectors, grid, y.gather(taps_h), x.gather(taps_w),
                  depth, by_taps_w},
            .b = {weight, cols, inner, weight_vectors, depth, by_taps_w,
                  taps_h.first_tap * x.kernel + taps_w.first_tap, y.tap_step * x.kernel, x.tap_step,
                  taps},
            .pixels = {grid, y.stride, x.stride, phase_h, phase_w, y.extent, x.extent}};
  }
};

// Hands an epilogue the pixels of the output in place of the rows of a phase.
template <class Pixels, class Epilogue>
struct PixelEpilogue {
  static constexpr bool kSumsRows = false;
  const Pixels& pixels;
  const Epilogue& epilogue;

  __device__ float operator()(int64_t row, int64_t col, int count, float v0, float v1) const {
    const int64_t pixel = pixels.at(row);
    return pixel < 0 ? 0.0f : epilogue(pixel, col, count, v0, v1);
  }
};

// Indices of pixels and of numbers in a patch are 31 bits wide, positions along an axis too.
inline void check_conv_extents(const ConvGeometry& g) {
  constexpr int64_t kMostRows = (int64_t{1} << 31) - 1, kMostExtent = int64_t{1} << 24;
  const ConvWindow& w = g.window;
  const int64_t rows = std::max({g.image_rows(), g.feature_rows(),
                                 w.taps() * std::max(g.image.channels, g.features.channels)});
  const int64_t extent =
      std::max({g.image.height, g.image.width, w.stride_h, w.stride_w, w.padding_h, w.padding_w,
                w.dilation_h * w.kernel_h, w.dilation_w * w.kernel_w});
  ELBO_CHECK(rows <= kMostRows && extent <= kMostExtent, "convolution ", g.to_string(),
             ": too large for 32-bit indices; use a smaller batch");
}

// Calls f(unit), the unit as a type.
template <Unit U>
struct UnitTag {
  static constexpr Unit kUnit = U;
};
template <class T, class F>
void with_unit(const Exec& exec, F&& f) {
  if constexpr (std::is_same_v<T, float>) {
    if (exec.products == ProductPrecision::fp32) return f(UnitTag<Unit::fp32>{});
  }
  f(UnitTag<Unit::tensor_cores>{});
}

// Block i owns tile i / phases of phase i % phases: what neighbours gather overlaps.
template <class T, class Config, Unit U, class Direction, class Epilogue>
__global__ void __launch_bounds__(Config::kThreads, kResidentBlocks)
    conv_kernel(Direction direction, Epilogue epilogue) {
  gpu::wait_for_previous();
  using Product = TileProduct<T, Config, Major::inner, Direction::kWeightMajor, U>;
  const auto phase = direction.at(static_cast<int>(blockIdx.x % direction.phases));
  const int64_t tile = blockIdx.x / direction.phases;
  const int64_t across = (direction.cols + Config::kCols - 1) / Config::kCols;
  const PixelEpilogue<std::decay_t<decltype(phase.pixels)>, Epilogue> to_pixels{phase.pixels,
                                                                                epilogue};
  Product::run_tile(phase.a, phase.b, tile / across * Config::kRows, tile % across * Config::kCols,
                    to_pixels, [](const T*) {});
}

}  // namespace elbo::cuda
