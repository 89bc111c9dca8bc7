// Towards the image with all phases of kernels/conv_gather.cuh in one product, for images of a few
// channels: what the phases gather overlaps, and together they fill a tile that one of them would leave
// mostly empty.
//
// A row is a position q of the phases' grid, a column a phase and a channel. Along the sums lie all
// features that any of the phases needs, along each axis those at q + first + n for n < count; the
// weight is zero where a phase has no tap for one:
//
//   out[q stride + phase] = sum over n of features[q + first + n] W[tap(n, phase)]
//   tap(n, phase) dilation = phase + padding - (first + n) stride
//
// A kernel of 4 with stride 2 sums 3 x 3 features for four phases, where each of them needs 2 x 2.
#pragma once

#include "kernels/tensor_conv.cuh"

namespace elbo::cuda {

// For the phases of up to four channels at stride 2.
using JointTile = TileConfig<128, 16, 8, 1, 1, 2>;

struct JointAxis {
  int stride, padding, dilation, kernel;
  int first, count;  // of the features that the phases gather, first counted from the position

  explicit JointAxis(const PhaseAxis& axis)
      : stride(axis.stride),
        padding(axis.padding),
        dilation(axis.dilation),
        kernel(axis.kernel),
        first(floor_divide(padding - (kernel - 1) * dilation + stride - 1, stride)),
        count(std::max(floor_divide(axis.phases() - 1 + padding, stride) - first + 1, 0)) {}

  // Of the n-th feature; -1: none.
  ELBO_HD int tap(int n, int phase) const {
    const int distance = phase + padding - (first + n) * stride;
    if (distance < 0 || distance % dilation != 0) return -1;
    return distance / dilation < kernel ? distance / dilation : -1;
  }

 private:
  static int floor_divide(int a, int b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }
};

// The weight as all phases see it: lines are gathered features, along them lie phases x channels.
template <class T>
struct JointWeight {
  static constexpr Major kMajor = Major::outer;
  const T* data;
  int64_t outer, inner;
  bool vectors;
  JointAxis y, x;
  FastDivisor features, places_w, channels, phases_w;

  struct Line {
    int feature, row, col;  // feature -1: outside
  };
  struct Along {
    int channel, phase_h, phase_w;  // channel -1: outside
  };
  __device__ Line line(int64_t i) const {
    if (i >= inner) return {-1, 0, 0};
    const auto place = features.divide(static_cast<uint32_t>(i));
    const auto at = places_w.divide(place.quotient);
    return {static_cast<int>(place.remainder), static_cast<int>(at.quotient),
            static_cast<int>(at.remainder)};
  }
  __device__ Along along(int64_t i) const {
    if (i >= outer) return {-1, 0, 0};
    const auto phase = channels.divide(static_cast<uint32_t>(i));
    const auto at = phases_w.divide(phase.quotient);
    return {static_cast<int>(phase.remainder), static_cast<int>(at.quotient),
            static_cast<int>(at.remainder)};
  }
  __device__ const T* at(const Line& line, const Along& along) const {
    if (line.feature < 0 || along.channel < 0) return nullptr;
    const int r = y.tap(line.row, along.phase_h), s = x.tap(line.col, along.phase_w);
    if (r < 0 || s < 0) return nullptr;
    const int64_t of_kernel = (int64_t{line.feature} * y.kernel + r) * x.kernel + s;
    return data + (of_kernel * channels.divisor + along.channel);
  }
};

// Which pixel of the image a row and the phase of a column are.
struct JointPixels {
  PixelGrid grid;
  int stride_h, stride_w, height, width;
  FastDivisor channels, phases_w;

  __device__ int64_t at(int64_t row, uint32_t phase) const {  // -1: none
    const auto part = phases_w.divide(phase);
    const PhasePixels pixels{grid,
                             stride_h,
                             stride_w,
                             static_cast<int>(part.quotient),
                             static_cast<int>(part.remainder),
                             height,
                             width};
    return pixels.at(row);
  }
};

// Two neighbours in a row may belong to two phases.
template <class Epilogue>
struct PixelEpilogue<JointPixels, Epilogue> {
  static constexpr bool kSumsRows = false;
  const JointPixels& pixels;
  const Epilogue& epilogue;

  __device__ float operator()(int64_t row, int64_t col, int count, float v0, float v1) const {
    const auto at = pixels.channels.divide(static_cast<uint32_t>(col));
    const bool together = count == 2 && at.remainder + 1 < pixels.channels.divisor;
    float sum = one(row, at.quotient, at.remainder, together ? 2 : 1, v0, v1);
    if (count == 2 && !together) sum += one(row, at.quotient + 1, 0, 1, v1, 0.0f);
    return sum;
  }

 private:
  __device__ float one(int64_t row, uint32_t phase, int64_t channel, int count, float v0,
                       float v1) const {
    const int64_t pixel = pixels.at(row, phase);
    return pixel < 0 ? 0.0f : epilogue(pixel, channel, count, v0, v1);
  }
};

template <class T>
struct JointImage {
  static constexpr Major kWeightMajor = Major::outer;
  static constexpr bool kJoint = true;
  Gather<T, Major::inner> features;
  JointWeight<T> weight;
  JointPixels pixels;
  int phases = 1;  // of the product
  int64_t rows, cols;

  JointImage(const ConvGeometry& g, const T* in, const T* w)
      : JointImage(g, in, w, phase_axis_h(g), phase_axis_w(g)) {}

  ELBO_HD int64_t channels() const { return pixels.channels.divisor; }

  struct Phase {
    Gather<T, Major::inner> a;
    JointWeight<T> b;
    JointPixels pixels;
  };
  __device__ Phase at(int) const { return {features, weight, pixels}; }

 private:
  JointImage(const ConvGeometry& g, const T* in, const T* w, const PhaseAxis& y, const PhaseAxis& x)
      : JointImage(g, in, w, y, x, JointAxis(y), JointAxis(x),
                   PixelGrid(g.batch, y.positions(), x.positions())) {}
  JointImage(const ConvGeometry& g, const T* in, const T* w, const PhaseAxis& y, const PhaseAxis& x,
             const JointAxis& joint_y, const JointAxis& joint_x, const PixelGrid& grid)
      : features{.data = in,
                 .outer = grid.pixels,
                 .inner = int64_t{joint_y.count} * joint_x.count * g.features.channels,
                 .vectors = is_vector_aligned(in, g.features.channels),
                 .grid = grid,
                 .y = {y.features, 1, joint_y.first, 1},
                 .x = {x.features, 1, joint_x.first, 1},
                 .channels = FastDivisor(g.features.channels),
                 .taps_w = FastDivisor(std::max(joint_x.count, 1))},
        weight{.data = w,
               .outer = int64_t{y.phases()} * x.phases() * g.image.channels,
               .inner = features.inner,
               .vectors = is_vector_aligned(w, g.image.channels),
               .y = joint_y,
               .x = joint_x,
               .features = features.channels,
               .places_w = features.taps_w,
               .channels = FastDivisor(g.image.channels),
               .phases_w = FastDivisor(x.phases())},
        pixels{grid, y.stride, x.stride, y.extent, x.extent, weight.channels, weight.phases_w},
        rows(grid.pixels),
        cols(weight.outer) {}
};

// Whether the phases' columns fit into one tile, and there is more than one of them.
inline bool can_join_phases(const ConvGeometry& g) {
  const int64_t phases = int64_t{phase_axis_h(g).phases()} * phase_axis_w(g).phases();
  return phases > 1 && phases * g.image.channels <= JointTile::kCols;
}

// Multiply-adds per position of the grid, those with the zeros that fill up slices and tiles too.
struct PaddedWork {
  int64_t apart = 0, joint = 0;

  explicit PaddedWork(const ConvGeometry& g) {
    const PhaseAxis y = phase_axis_h(g), x = phase_axis_w(g);
    const JointAxis joint_y(y), joint_x(x);
    const int64_t channels = g.image.channels;
    const auto work = [&](int64_t taps, int64_t cols) {
      return filled_up(taps * g.features.channels, kSliceWords) *
             filled_up(cols, cols <= ThinTile::kCols ? ThinTile::kCols : JointTile::kCols);
    };
    for (int row = 0; row < y.phases(); ++row) {
      for (int col = 0; col < x.phases(); ++col) {
        apart += work(taps_of(joint_y, row) * taps_of(joint_x, col), channels);
      }
    }
    joint = work(int64_t{joint_y.count} * joint_x.count, channels * y.phases() * x.phases());
  }

 private:
  static int64_t filled_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }
  static int64_t taps_of(const JointAxis& axis, int phase) {
    int64_t taps = 0;
    for (int n = 0; n < axis.count; ++n) taps += axis.tap(n, phase) >= 0;
    return taps;
  }
};

inline bool rule_joins_phases(const ConvGeometry& g) {
  if (!can_join_phases(g)) return false;
  const PaddedWork work(g);
  return work.joint <= work.apart;
}

}  // namespace elbo::cuda
