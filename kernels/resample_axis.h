// What upsampling and pooling do along one axis: which inputs an output is a weighted sum of. Pictures are
// resampled by two of them, as the weights of a window are products of its rows' and columns'.
//
//   nearest    input floor(o * in / out)
//   bilinear   position max(0, (o + 1/2) in / out - 1/2), shared between the inputs on either side
//   average    inputs o * stride - padding .. + kernel, each weighing 1 / kernel, or 1 / (those inside)
//
// Indices are int, whose divisions are a fraction of int64_t's on either device: an axis has at most
// kLongestAxis positions, so that no product below overflows.
#pragma once

#include "kernels/portability.h"

namespace elbo {

enum class ResampleKind : int { nearest, bilinear, average };

inline constexpr int kLongestAxis = 32767;

struct IndexRange {
  int begin, end;
};

struct ResampleAxis {
  ResampleKind kind = ResampleKind::nearest;
  int in = 1, out = 1;
  int kernel = 1, stride = 1, padding = 0;  // average only
  bool count_padding = true;

  ELBO_HD static int clamp(int i, int low, int high) {
    return i < low ? low : (i > high ? high : i);
  }
  // For positive divisors; plain division rounds towards zero.
  ELBO_HD static int floor_div(int a, int b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }
  ELBO_HD static int ceil_div(int a, int b) { return -floor_div(-a, b); }

  // Where an output lies between its two inputs.
  template <class R>
  struct Between {
    int first, second;
    R share;  // of the second
  };
  template <class R>
  ELBO_HD Between<R> between(int o) const {
    const R ratio = static_cast<R>(in) / static_cast<R>(out);
    const R at = (static_cast<R>(o) + R(0.5)) * ratio - R(0.5);
    const R position = at < R(0) ? R(0) : at;
    const int first = clamp(static_cast<int>(position), 0, in - 1);
    const int second = first + 1 < in ? first + 1 : first;
    return {first, second, position - static_cast<R>(first)};
  }

  // The inputs that output o reads.
  template <class R>
  ELBO_HD IndexRange inputs_of(int o) const {
    if (kind == ResampleKind::average) {
      const int begin = o * stride - padding;
      return {clamp(begin, 0, in), clamp(begin + kernel, 0, in)};
    }
    if (kind == ResampleKind::nearest) return {o * in / out, o * in / out + 1};
    const Between<R> b = between<R>(o);
    return {b.first, b.second + 1};
  }

  // The outputs that read input i.
  template <class R>
  ELBO_HD IndexRange outputs_of(int i) const {
    if (kind == ResampleKind::average) {
      return {clamp(ceil_div(i + padding - kernel + 1, stride), 0, out),
              clamp(floor_div(i + padding, stride) + 1, 0, out)};
    }
    if (kind == ResampleKind::nearest) return {ceil_div(i * out, in), ceil_div((i + 1) * out, in)};
    // Positions between i - 1 and i + 1, at the edges all that are clamped there. Rounding may move a
    // position past an input, so look one further, and leave out whoever gives i no weight.
    const int begin = floor_div((2 * i - 1) * out - in, 2 * in) - 1;
    const int end = ceil_div((2 * i + 3) * out - in, 2 * in) + 2;
    IndexRange range{i == 0 ? 0 : clamp(begin, 0, out), i + 1 == in ? out : clamp(end, 0, out)};
    while (range.begin < range.end && weight<R>(range.begin, i) == R(0)) ++range.begin;
    while (range.begin < range.end && weight<R>(range.end - 1, i) == R(0)) --range.end;
    return range;
  }

  // The weight of input i in output o, where i is among inputs_of(o).
  template <class R>
  ELBO_HD R weight(int o, int i) const {
    if (kind == ResampleKind::nearest) return R(1);
    if (kind == ResampleKind::bilinear) {
      const Between<R> b = between<R>(o);
      const R first = i == b.first ? R(1) - b.share : R(0);
      return i == b.second ? first + b.share : first;
    }
    if (count_padding) return R(1) / static_cast<R>(kernel);
    const IndexRange inside = inputs_of<R>(o);
    return R(1) / static_cast<R>(inside.end - inside.begin);
  }
};

}  // namespace elbo
