// The loops of kernels/cpu_conv.h: what one thread does. Compiled once per vector unit, on the terms of
// kernels/cpu_product_body.h: no library, no lambdas.
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

// A block of pixels whose patches lie in `patches`, taps and channels of `range` only.
struct ConvBlock {
  const ConvPixels* pixels;
  const float* patches;
  ConvRange range;
  bool first, last;  // of the ranges
};

// All strips of a block. Sums of ranges before the last wait in `partial`.
inline void convolve_block(const ConvSums& conv, const ConvPart& part, const ConvBlock& block,
                           float* partial, ConvFinishFunction finish) {
  alignas(64) float start[kConvStrip];
  alignas(64) float buffer[kConvTileRows * kConvStrip];
  const int64_t depth = part.phase.h.taps * part.phase.w.taps * conv.in_size.channels;
  const int64_t rows = block.pixels->count;
  const int64_t tiles = (rows + kConvTileRows - 1) / kConvTileRows;
  const int64_t step = (rows + tiles - 1) / tiles;  // even, so that no tile is left with few rows
  const bool whole = block.first && block.last;
  for (int64_t col = part.col_begin; col < part.col_end; col += kConvStrip) {
    const int64_t left = part.col_end - col, width = left < kConvStrip ? left : kConvStrip;
    const int64_t at = col - part.col_begin;
    for (int64_t j = 0; j < kConvStrip; ++j) {
      start[j] = conv.finish.bias && j < width ? conv.finish.bias[col + j] : 0.0f;
    }
    const float* b = part.packed + at * depth + block.range.begin * kConvStrip;
    for (int64_t row = 0; row < rows; row += step) {
      const int64_t count = row + step < rows ? step : rows - row;
      float* sums = whole ? buffer : partial + row * kConvCols + at;
      const int64_t sums_row = whole ? kConvStrip : kConvCols;
      const ConvTileOperands operands{block.patches + row * kConvPatchRow,
                                      kConvPatchRow,
                                      b,
                                      block.range.size,
                                      block.first ? start : sums,
                                      block.first ? 0 : sums_row,
                                      sums,
                                      sums_row};
      multiply_conv_tile(operands, count, width);
      if (!block.last) continue;
      finish(conv, ConvTile{sums, sums_row, count, block.pixels->out + row, col, width,
                            part.sums ? part.sums + at : nullptr});
    }
  }
}

// One range after the other: of whole taps, or of channels of one tap where there are many.
inline void convolve_pixels(const ConvSums& conv, const ConvPart& part, const ConvPixels& pixels,
                            ConvFinishFunction finish) {
  float* patches = part.workspace;
  float* partial = patches + kConvRows * kConvPatchRow;
  const int64_t taps = part.phase.h.taps * part.phase.w.taps, channels = conv.in_size.channels;
  const int64_t most_channels = channels < kConvDepth ? channels : kConvDepth;
  const int64_t most_taps = channels < kConvDepth ? kConvDepth / channels : 1;
  ConvBlock block{&pixels, patches, {}, true, false};
  int64_t tap = 0, channel = 0;
  do {
    ConvRange& range = block.range;
    const int64_t channels_left = channels - channel;
    range.tap_begin = tap;
    range.tap_end = tap + most_taps < taps ? tap + most_taps : taps;
    range.channel_begin = channel;
    range.channel_end = channels_left < most_channels ? channels : channel + most_channels;
    range.begin = tap * channels + channel;
    range.size = (range.tap_end - range.tap_begin) * (range.channel_end - range.channel_begin);
    channel = range.channel_end == channels ? 0 : range.channel_end;
    tap = channel == 0 ? range.tap_end : tap;
    block.last = tap == taps;
    gather_patches(conv, part.phase, pixels, range, patches, kConvPatchRow);
    convolve_block(conv, part, block, partial, finish);
    block.first = false;
  } while (!block.last);
}

void convolve_part(const ConvSums& conv, const ConvPart& part) {
  const ConvFinishFunction finish = conv_finish_function(conv.finish);
  ConvPixels pixels;
  pixels.count = 0;
  for (int64_t b = part.sample_begin; b < part.sample_end; ++b) {
    for (int64_t u = part.row_begin; u < part.row_end; ++u) {
      for (int64_t v = 0; v < part.phase.w.count; ++v) {
        add_pixel(conv, part.phase, b, u, v, pixels);
        if (pixels.count < kConvRows) continue;
        convolve_pixels(conv, part, pixels, finish);
        pixels.count = 0;
      }
    }
  }
  if (pixels.count > 0) convolve_pixels(conv, part, pixels, finish);
}
