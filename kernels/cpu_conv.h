// Convolutions on the CPU in code of our own: fp32, NHWC, any geometry, either direction, with what
// follows the sums done while they are in registers or the L1 cache.
//
// Method    Output pixels are dealt with by phases: those whose window meets the same taps. Towards
//           the features there is one; towards the image, with stride s, pixels y = p + s u form s
//           phases per axis, each a convolution of stride 1 over the features with every s-th tap,
//           so that nothing is inserted, scattered or multiplied by zero (Dumoulin & Visin, 4.6).
//           - wide: a matrix product, rows = output pixels, inner = taps x input channels, columns
//             = output channels, by tiles of up to 12 rows and two vectors of columns. Pixels are
//             grouped by which of their taps lie inside of the input, so none reads padding. Runs
//             of pixels along a row read the input where it is; others are gathered into patches
//             in the L2 cache. The weight is packed once per call.
//           - thin: of up to kThinChannels output channels, pixels lie in the lanes instead. The
//             input is transposed into planes, a tap is a shifted plane, weights are broadcast.
//           - weight gradient: a product over the pixel pairs that taps connect, both operands read
//             where they are; with image channels that fill no vectors over gathered patches.
// Numerics  sums in an order that depends on geometry and thread count only; fused multiply-adds
//           where the machine has them
// Scratch   kConvWorkspace floats per thread, and the packed weight: columns are done in groups
//           where it does not fit
// Source    Dumoulin & Visin 2016, arXiv:1603.07285
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/activation.h"
#include "kernels/cpu_product.h"

namespace elbo::cpu {

// One axis of a phase. Output u lies at out_first + u out_step; tap t of it reads the input at
// in_first + u in_step + t tap_step and is the weight's tap weight_first + t weight_step.
struct ConvAxis {
  int64_t out_first, out_step, count;
  int64_t in_first, in_step, tap_step, taps;
  int64_t weight_first, weight_step;
};

struct ConvPhase {
  ConvAxis h, w;
};

// An array of images: pixel (b, y, x) begins at ((b height + y) width + x) channels.
struct ConvSide {
  int64_t height, width, channels;
};

// What follows the sums.
struct ConvFinish {
  bool add = false;   // out += sums; nothing else then
  bool undo = false;  // out = sums * act'(kept), column sums; else out = act(sums + bias)
  Activation activation = Activation::identity;
  const float* bias = nullptr;
  float* pre = nullptr;
  const float* kept = nullptr;
};

// The sums towards one side. The weight of input channel c, tap t, output channel n is at
// c weight_in + t weight_tap + n weight_out; one of weight_in and weight_out is 1.
struct ConvSums {
  int64_t batch;
  ConvSide in_size, out_size;
  const float* in;
  const float* weight;
  int64_t weight_in, weight_tap, weight_out, kernel_w;
  float* out;
  ConvFinish finish;
};

// Samples [sample_begin, sample_end) and rows [row_begin, row_end) of a phase, by one thread.
struct ConvPart {
  ConvPhase phase;
  int64_t sample_begin, sample_end, row_begin, row_end;
  int64_t col_begin, col_end;  // output channels
  const float* packed;         // the phase's weights of these columns
  float* workspace;            // kConvWorkspace floats
  // ConvFinish::undo: column sums, added to, and their compensation kConvCols behind; may be null.
  float* sums;
  // Thin sums: where in the planes, from a pixel's tap (0, 0), each row of `packed` is multiplied
  // with.
  const int64_t* step_offsets = nullptr;
  int64_t steps = 0;
};

// Rows [y_begin, y_begin + rows) of one sample of the input as planes, one per channel: pixel (y,
// x) of channel c is at data[c plane + (y - y_begin) row + x - x_begin], zero outside of the input.
// The columns outside are cleared beforehand, once for all samples.
struct ConvPlanes {
  int64_t y_begin, rows, x_begin, row, plane;
  float* data;
};

inline constexpr int64_t kConvRows = 48;  // pixels of a block
inline constexpr int64_t kConvDepth =
    1024;                                  // of a block of patches, as kDepth in cpu_product_body.h
inline constexpr int64_t kConvCols = 512;  // output channels that are dealt with at a time
// Rows of patches are a vector longer than a power of two, or they would share one set of the L1.
inline constexpr int64_t kConvPatchRow = kConvDepth + 16;
inline constexpr int64_t kConvWorkspace = kConvRows * (kConvPatchRow + kConvCols) + 64;
inline constexpr int64_t kThinChannels = 4;

// Strips of two vectors of columns, [strip][tap][channel][2 kLanes]: floats for `cols` columns.
constexpr int64_t conv_packed_floats(int64_t depth, int64_t cols, int lanes) {
  return depth * ((cols + 2 * lanes - 1) / (2 * lanes) * (2 * lanes));
}

// The gradient of the weight: dweight[k][tap][c] (+)= sum over pixel pairs of features x image.
struct ConvWeightSums {
  int64_t batch;
  ConvSide image_size, features_size;
  const float* image;
  const float* features;
  int64_t kernel_h, kernel_w;
  ConvPhase phase;  // of conv2d: output is the features
  float* dweight;
  bool add;
};

#define ELBO_CONV_FUNCTIONS                                                                        \
  /* Columns [col_begin, col_end) of the weight of a phase into strips. */                         \
  void pack_conv_weight(const ConvSums& conv, const ConvPhase& phase, int64_t col_begin,           \
                        int64_t col_end, float* to);                                               \
  void convolve_part(const ConvSums& conv, const ConvPart& part);                                  \
  void make_conv_planes(const ConvSums& conv, int64_t sample, const ConvPlanes& planes);           \
  /* Sample part.sample_begin, of up to kThinChannels output channels, phase.w.in_step == 1, */    \
  /* and the weight packed as [step][output channel]. */                                           \
  void convolve_thin_part(const ConvSums& conv, const ConvPart& part, const ConvPlanes& planes);   \
  /* Row r of the window, rows [row_begin, row_end) of features.channels. */                       \
  /* image.channels % kLanes == 0. */                                                              \
  void conv_weight_row(const ConvWeightSums& conv, int64_t r, int64_t row_begin, int64_t row_end); \
  /* Rows [begin, end) of the features of all samples, into partial[features.channels][columns, */ \
  /* whole vectors]. */                                                                            \
  void conv_weight_patches(const ConvWeightSums& conv, int64_t begin, int64_t end,                 \
                           float* workspace, float* partial);

namespace baseline {
ELBO_CONV_FUNCTIONS
}
#ifdef __x86_64__
namespace avx2 {
ELBO_CONV_FUNCTIONS
}
namespace avx512 {
ELBO_CONV_FUNCTIONS
}
#endif
#undef ELBO_CONV_FUNCTIONS

}  // namespace elbo::cpu
