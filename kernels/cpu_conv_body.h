// The loops of kernels/cpu_conv.h: what one thread does. Compiled once per vector unit, on the
// terms of kernels/cpu_product_body.h: no library, no lambdas.
//
// Start at convolve_part() below for wide sums, at convolve_thin_part() in cpu_conv_thin.h for thin
// ones and at the end of cpu_conv_weight.h for gradients of the weight.

constexpr int kConvStrip = 2 * kLanes;
// As kMaxRows in cpu_product_body.h: the sums of a tile stay in registers.
constexpr int kConvTileRows = kLanes == 16 ? 12 : 6;

// These build on each other, in this order:
// clang-format off
#include "kernels/cpu_transpose.h"
#include "kernels/cpu_conv_gather.h"
#include "kernels/cpu_conv_tile.h"
#include "kernels/cpu_conv_finish.h"
#include "kernels/cpu_conv_thin.h"
#include "kernels/cpu_conv_weight.h"
// clang-format on

// Rows of a tile as it reads them.
struct ConvRows {
  const float* a;
  int64_t a_row, a_segment;
  int64_t count;
  const int64_t* out;
};

// One strip of one tile. Sums of steps before the last wait in `partial`.
struct ConvStrip {
  int64_t col, width;
  alignas(64) float start[kConvStrip];
  alignas(64) float buffer[kConvTileRows * kConvStrip];
  ConvFinishFunction finish;
  bool direct;  // whether tiles may write their sums where they belong, without `finish`
};

inline bool finishes_in_tile(const ConvFinish& finish) {
  const bool simple =
      finish.activation == Activation::identity || finish.activation == Activation::relu;
  return simple && !finish.add && !finish.undo && !finish.pre;
}

inline void begin_strip(const ConvSums& conv, const ConvPart& part, int64_t col, ConvStrip& strip) {
  if (strip.col == col) return;
  const int64_t left = part.col_end - col;
  strip.col = col;
  strip.width = left < kConvStrip ? left : kConvStrip;
  clear_floats(strip.start, kConvStrip);
  if (conv.finish.bias) copy_floats(conv.finish.bias + col, strip.start, strip.width);
}

inline void convolve_tile(const ConvSums& conv, const ConvPart& part, const ConvSteps& steps,
                          const ConvRows& rows, ConvStrip& strip, float* partial) {
  const int64_t channels = conv.in_size.channels, taps_w = part.phase.w.taps;
  const int64_t at = strip.col - part.col_begin, depth = part.phase.h.taps * taps_w * channels;
  const int64_t k = (steps.r_begin * taps_w + steps.s_begin) * channels + steps.c_begin;
  const bool whole = steps.first && steps.last;
  const bool direct = steps.last && strip.direct && strip.width % kLanes == 0;
  float* waiting = whole ? strip.buffer : partial + at;
  const int64_t waiting_row = whole ? kConvStrip : kConvCols;
  ConvTileOperands operands{rows.a,
                            rows.a_row,
                            rows.a_segment,
                            part.packed + at * depth + k * kConvStrip,
                            taps_w * channels * kConvStrip,
                            steps.r_end - steps.r_begin,
                            (steps.s_end - steps.s_begin) * (steps.c_end - steps.c_begin),
                            steps.first ? strip.start : waiting,
                            steps.first ? 0 : waiting_row,
                            direct ? conv.out + strip.col : waiting,
                            waiting_row,
                            direct ? rows.out : nullptr,
                            direct && conv.finish.activation == Activation::relu};
  if (operands.length == operands.a_segment && steps.s_end - steps.s_begin == taps_w) {
    operands.length *= operands.segments;  // one run after the other, in both operands
    operands.segments = 1;
  }
  multiply_conv_tile(operands, rows.count, strip.width);
  if (!steps.last || direct) return;
  strip.finish(conv, ConvTile{waiting, waiting_row, rows.count, rows.out, strip.col, strip.width,
                              part.sums ? part.sums + at : nullptr});
}

// All strips of gathered pixels.
inline void convolve_patches(const ConvSums& conv, const ConvPart& part, const ConvPixels& pixels,
                             const ConvTaps& h, const ConvTaps& w, const ConvSteps& steps,
                             ConvStrip& strip) {
  float* patches = part.workspace;
  float* partial = patches + kConvRows * kConvPatchRow;
  copy_patches(conv, part.phase, pixels, steps, h, w, patches);
  const int64_t tiles = (pixels.count + kConvTileRows - 1) / kConvTileRows;
  const int64_t step = (pixels.count + tiles - 1) / tiles;  // even, so that no tile has few rows
  const int64_t segment = (steps.s_end - steps.s_begin) * (steps.c_end - steps.c_begin);
  for (int64_t col = part.col_begin; col < part.col_end; col += kConvStrip) {
    begin_strip(conv, part, col, strip);
    for (int64_t row = 0; row < pixels.count; row += step) {
      const int64_t count = row + step < pixels.count ? step : pixels.count - row;
      convolve_tile(
          conv, part, steps,
          ConvRows{patches + row * kConvPatchRow, kConvPatchRow, segment, count, pixels.out + row},
          strip, partial + row * kConvCols);
    }
  }
}

// What of the taps that `window` holds fits into a row of patches goes at a time: all, or columns
// of one row of the window, or channels of one tap.
inline void convolve_pixels(const ConvSums& conv, const ConvPart& part, const ConvTaps& h,
                            const ConvTaps& w, ConvPixels& pixels, ConvStrip& strip) {
  const int64_t channels = conv.in_size.channels;
  const int64_t rows = h.end - h.begin, cols = w.end - w.begin;
  if (rows * cols * channels <= kConvDepth) {
    convolve_patches(conv, part, pixels, h, w,
                     ConvSteps{h.begin, h.end, w.begin, w.end, 0, channels, true, true}, strip);
    pixels.count = 0;
    return;
  }
  const int64_t most_channels = channels < kConvDepth ? channels : kConvDepth;
  const int64_t most_cols = channels < kConvDepth ? kConvDepth / channels : 1;
  bool first = true;
  for (int64_t r = h.begin; r < h.end; ++r) {
    for (int64_t s = w.begin; s < w.end; s += most_cols) {
      const int64_t s_end = s + most_cols < w.end ? s + most_cols : w.end;
      for (int64_t c = 0; c < channels; c += most_channels) {
        const int64_t c_end = c + most_channels < channels ? c + most_channels : channels;
        const bool last = r + 1 == h.end && s_end == w.end && c_end == channels;
        convolve_patches(conv, part, pixels, h, w,
                         ConvSteps{r, r + 1, s, s_end, c, c_end, first, last}, strip);
        first = false;
      }
    }
  }
  pixels.count = 0;
}

// Pixels of one row that read runs of neighbours: no need to gather them.
inline void convolve_run(const ConvSums& conv, const ConvPart& part, const ConvTaps& h,
                         const ConvTaps& w, ConvPixels& pixels, ConvStrip& strip) {
  const ConvSteps steps{h.begin, h.end, w.begin, w.end, 0, conv.in_size.channels, true, true};
  const int64_t a_row = part.phase.w.in_step * conv.in_size.channels;
  const int64_t a_segment = part.phase.h.tap_step * conv.in_size.width * conv.in_size.channels;
  const int64_t tiles = (pixels.count + kConvTileRows - 1) / kConvTileRows;
  const int64_t step = (pixels.count + tiles - 1) / tiles;
  for (int64_t col = part.col_begin; col < part.col_end; col += kConvStrip) {
    begin_strip(conv, part, col, strip);
    for (int64_t row = 0; row < pixels.count; row += step) {
      const int64_t count = row + step < pixels.count ? step : pixels.count - row;
      convolve_tile(conv, part, steps,
                    ConvRows{pixels.in[row], a_row, a_segment, count, pixels.out + row}, strip,
                    nullptr);
    }
  }
  pixels.count = 0;
}

// Pixels whose window meets the same taps, of all samples.
inline void convolve_class(const ConvSums& conv, const ConvPart& part, const ConvTaps& h,
                           const ConvTaps& w, ConvStrip& strip) {
  // Tiles of fewer rows take longer than gathering whole ones does.
  constexpr int64_t kLeastRun = 6;
  const int64_t depth = (h.end - h.begin) * (w.end - w.begin) * conv.in_size.channels;
  const bool direct = w.last - w.first >= kLeastRun && part.phase.w.tap_step == 1 &&
                      depth <= kConvDepth && depth > 0;
  ConvPixels pixels;
  pixels.count = 0;
  for (int64_t b = part.sample_begin; b < part.sample_end; ++b) {
    for (int64_t u = h.first; u < h.last; ++u) {
      for (int64_t v = w.first; v < w.last;) {
        v = add_pixels(conv, part.phase, b, u, v, w.last, h, w, pixels);
        if (direct) {
          convolve_run(conv, part, h, w, pixels, strip);
        } else if (pixels.count == kConvRows) {
          convolve_pixels(conv, part, h, w, pixels, strip);
        }
      }
    }
  }
  if (pixels.count > 0) convolve_pixels(conv, part, h, w, pixels, strip);
}

void convolve_part(const ConvSums& conv, const ConvPart& part) {
  ConvStrip strip;
  strip.col = -1;
  strip.finish = conv_finish_function(conv.finish);
  strip.direct = finishes_in_tile(conv.finish);
  ConvTaps h{0, 0, 0, part.row_begin};
  while (next_taps(part.phase.h, conv.in_size.height, part.row_end, h)) {
    ConvTaps w{0, 0, 0, 0};
    while (next_taps(part.phase.w, conv.in_size.width, part.phase.w.count, w)) {
      convolve_class(conv, part, h, w, strip);
    }
  }
}
