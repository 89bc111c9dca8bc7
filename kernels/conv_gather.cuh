// Convolutions as products of matrices that nobody stores: sources of kernels/tensor_operand.cuh that
// gather pixels through a window.
//
// Towards the features (and for the gradient of the weight) a pixel (i, j) of the features gathers, for
// every tap, the image's pixel (i stride - padding + r dilation, ...). Towards the image a pixel y
// receives from those taps r only for which y + padding - r dilation is a multiple of the stride, and
// from which ones depends on y modulo the stride, the pixel's *phase*. Within a phase all pixels
// y = q stride + phase gather alike, from the features at
//
//   q + origin - n feature_step      for the phase's n-th tap, r = first_tap + n tap_step
//
// so that each phase is a convolution of stride 1 with a part of the kernel, and nothing is inserted or
// scattered. The phases share one grid of q, that of the largest; what of it lies outside of the image
// is computed and dropped.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "kernels/conv_geometry.h"
#include "kernels/fast_divide.h"
#include "kernels/tensor_operand.cuh"

namespace elbo::cuda {

// A grid of pixels, B x rows x cols, numbered in that order.
struct PixelGrid {
  int64_t pixels;
  FastDivisor rows, cols;

  PixelGrid(int64_t batch, int64_t grid_rows, int64_t grid_cols)
      : pixels(batch * grid_rows * grid_cols), rows(grid_rows), cols(grid_cols) {}

  struct Position {
    int sample, row, col;
  };
  __device__ Position at(int64_t pixel) const {
    const auto line = cols.divide(static_cast<uint32_t>(pixel));
    const auto sample = rows.divide(line.quotient);
    return {static_cast<int>(sample.quotient), static_cast<int>(sample.remainder),
            static_cast<int>(line.remainder)};
  }
};

// Along one axis: tap n of the grid's position q is at q stride + origin + n step.
struct GatherAxis {
  int extent;  // of what is gathered from
  int stride, origin, step;

  __device__ int first(int q) const { return q * stride + origin; }
  __device__ int of_tap(uint32_t tap) const { return static_cast<int>(tap) * step; }
  __device__ bool contains(int position) const {
    return static_cast<unsigned>(position) < static_cast<unsigned>(extent);
  }
};

// Lines are the pixels of a grid, and along them lie taps x channels of what they gather.
template <class T, Major M>
struct Gather {
  static constexpr Major kMajor = M;
  const T* data;
  int64_t outer, inner;
  bool vectors;
  PixelGrid grid;
  GatherAxis y, x;
  FastDivisor channels, taps_w;

  // Positions, and what they add to the index. A line or a place outside of the matrix is as far outside
  // of the image as no other can make good.
  static constexpr int kOutside = -(1 << 30);
  struct Line {
    int64_t offset;
    int row, col;
  };
  using Along = Line;

  __device__ Line line(int64_t i) const {
    if (i >= (M == Major::inner ? outer : inner)) return {0, kOutside, kOutside};
    const PixelGrid::Position pixel = grid.at(i);
    const int row = y.first(pixel.row), col = x.first(pixel.col);
    return {index(pixel.sample * int64_t{y.extent} + row, col), row, col};
  }
  __device__ Along along(int64_t i) const {
    if (i >= (M == Major::inner ? inner : outer)) return {0, kOutside, kOutside};
    const auto tap = channels.divide(static_cast<uint32_t>(i));
    const auto window = taps_w.divide(tap.quotient);
    const int row = y.of_tap(window.quotient), col = x.of_tap(window.remainder);
    return {index(row, col) + tap.remainder, row, col};
  }
  __device__ int64_t index(int64_t row, int col) const {
    return (row * x.extent + col) * channels.divisor;
  }
  __device__ const T* at(const Line& line, const Along& along) const {
    const bool inside = y.contains(line.row + along.row) && x.contains(line.col + along.col);
    return inside ? data + (line.offset + along.offset) : nullptr;
  }
};

// Of the image by the features' pixels: A towards the features, B of the gradient of the weight.
template <Major M, class T>
Gather<T, M> gather_image(const ConvGeometry& g, const T* image) {
  const ConvWindow& w = g.window;
  const int64_t patch = w.taps() * g.image.channels;
  const auto axis = [](int64_t extent, int64_t stride, int64_t padding, int64_t dilation) {
    return GatherAxis{static_cast<int>(extent), static_cast<int>(stride),
                      static_cast<int>(-padding), static_cast<int>(dilation)};
  };
  return {.data = image,
          .outer = M == Major::inner ? g.feature_rows() : patch,
          .inner = M == Major::inner ? patch : g.feature_rows(),
          .vectors = is_vector_aligned(image, g.image.channels),
          .grid = PixelGrid(g.batch, g.features.height, g.features.width),
          .y = axis(g.image.height, w.stride_h, w.padding_h, w.dilation_h),
          .x = axis(g.image.width, w.stride_w, w.padding_w, w.dilation_w),
          .channels = FastDivisor(g.image.channels),
          .taps_w = FastDivisor(w.kernel_w)};
}

// What a phase takes of the kernel along one axis.
struct PhaseTaps {
  int first_tap, count, origin;
};

struct PhaseAxis {
  int extent;    // of the image
  int features;  // extent of the features
  int stride, padding, dilation, kernel;
  int tap_step;             // between two taps of a phase
  int feature_step;         // between the features that they gather
  FastDivisor most, fewer;  // taps that a phase may have, if it has any: this many, or one less

  PhaseAxis(int64_t image_extent, int64_t feature_extent, int64_t s, int64_t p, int64_t d,
            int64_t k)
      : extent(static_cast<int>(image_extent)),
        features(static_cast<int>(feature_extent)),
        stride(static_cast<int>(s)),
        padding(static_cast<int>(p)),
        dilation(static_cast<int>(d)),
        kernel(static_cast<int>(k)),
        tap_step(stride / std::gcd(stride, dilation)),
        feature_step(dilation / std::gcd(stride, dilation)),
        most((kernel + tap_step - 1) / tap_step),
        fewer(std::max<int64_t>(most.divisor - 1, 1)) {}

  // Phases that have pixels, and positions q of the largest.
  int phases() const { return std::min(stride, extent); }
  int positions() const { return (extent + stride - 1) / stride; }

  __device__ PhaseTaps at(int phase) const {
    const int last = min(tap_step, kernel);
    for (int tap = 0; tap < last; ++tap) {
      const int distance = phase + padding - tap * dilation;
      if (distance % stride != 0) continue;
      return {tap, (kernel - 1 - tap) / tap_step + 1, distance / stride};
    }
    return {0, 0, 0};
  }
  __device__ GatherAxis gather(const PhaseTaps& taps) const {
    return {features, 1, taps.origin, -feature_step};
  }
};

inline PhaseAxis phase_axis_h(const ConvGeometry& g) {
  const ConvWindow& w = g.window;
  return {g.image.height, g.features.height, w.stride_h, w.padding_h, w.dilation_h, w.kernel_h};
}
inline PhaseAxis phase_axis_w(const ConvGeometry& g) {
  const ConvWindow& w = g.window;
  return {g.image.width, g.features.width, w.stride_w, w.padding_w, w.dilation_w, w.kernel_w};
}

// The weight as a phase sees it: lines are its taps x features, along them lie the image's channels.
template <class T>
struct PhaseWeight {
  static constexpr Major kMajor = Major::outer;
  const T* data;
  int64_t outer, inner;
  bool vectors;
  FastDivisor features, taps_w;
  int first_tap, tap_step_h, tap_step_w, taps;  // of the whole kernel

  using Line = DenseLine<T>;
  using Along = DenseAlong;
  __device__ Line line(int64_t i) const {
    if (i >= inner) return {nullptr};
    const auto tap = features.divide(static_cast<uint32_t>(i));
    const auto window = taps_w.divide(tap.quotient);
    const int of_kernel = first_tap + static_cast<int>(window.quotient) * tap_step_h +
                          static_cast<int>(window.remainder) * tap_step_w;
    return {data + (int64_t{tap.remainder} * taps + of_kernel) * outer};
  }
  __device__ Along along(int64_t i) const { return {i < outer ? i : -1}; }
  __device__ const T* at(const Line& line, const Along& along) const {
    return dense_at(line, along);
  }
};

// Which pixel of the image is the grid's.
struct PhasePixels {
  PixelGrid grid;
  int stride_h, stride_w, phase_h, phase_w, height, width;

  __device__ int64_t at(int64_t row) const {  // -1: none
    const PixelGrid::Position q = grid.at(row);
    const int y = q.row * stride_h + phase_h, x = q.col * stride_w + phase_w;
    return y < height && x < width ? (int64_t{q.sample} * height + y) * width + x : -1;
  }
};

}  // namespace elbo::cuda
