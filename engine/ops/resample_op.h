// Changing the size of pictures.
//
//   upsample         nearest neighbour or bilinear (align_corners=False), to a given size
//   upsample_by      the same by a whole factor
//   avg_pool2d       means over windows, padding counted as zeros unless told otherwise
//   global_avg_pool  mean over all positions: [B, H, W, C] -> [B, C]
//
// Shapes    x [B, H, W, C] (NHWC)
// Gradient  the adjoint, gathered: kernels/resample.h
// Errors    elbo::Error if x is no picture, or a window does not fit
#pragma once

#include "engine/tape.h"
#include "kernels/resample_axis.h"

namespace elbo {

enum class Upsampling : int { nearest, bilinear };

Tensor upsample(Tape& tape, const Tensor& x, Upsampling kind, int64_t height, int64_t width);
Tensor upsample_by(Tape& tape, const Tensor& x, Upsampling kind, int64_t factor);

struct AvgPoolOptions {
  int64_t kernel = 2;
  int64_t stride = 2;
  int64_t padding = 0;
  bool count_include_pad = true;
};

Tensor avg_pool2d(Tape& tape, const Tensor& x, const AvgPoolOptions& options);
Tensor global_avg_pool(Tape& tape, const Tensor& x);

}  // namespace elbo
