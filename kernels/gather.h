// One batch of a uint8 data set as floats in [0, 1], in the order of the epoch.
//
//   x[b,d] = data[s_b, d] / 255             none
//   x[b,d] = data[s_b, d] >= 128            threshold
//   x[b,d] = u < data[s_b, d] / 255         dynamic: Bernoulli of the grey value, fresh each step
//   x[b,d] = (data[s_b, d] + u) / 256       dequantise: a density of x then bounds that of bytes
//
// With `flip` half of the images, drawn afresh each step, are mirrored left to right before any of
// this; without a state (evaluation) none is.
//
// s_b is the sample that row b reads (batch_order.h). u is uniform noise of purpose binarise
// or dequantise at (seed, step, sample s_b, dimension d), so it depends neither on the row nor on how an epoch is
// cut into batches; without a state the step is 0 and the draws of a sample are always the same.
//
// With a stage that holds the batch, its rows are read from there instead of from data (row_stage.h).
//
// Shapes    data [N, D], labels [N], attributes [N, A] readable from the device; x, x_bf16 [B, D], index
//           and label_out [B], attribute_out [B, A]; with flip D is [height, width, channels]
// Work      one launch; reads BD bytes, writes 4BD; on CUDA a block owns a row and moves 16 bytes
//           per store where D % 4 == 0 and the pointers allow it. dynamic draws four pixels per
//           Philox call.
// Numerics  exact division by 255 (grey.h); u of dequantise is a multiple of 2^-16, so that the sum
//           is exact and x < 1; the same bits on both devices
// Errors    elbo::Error if a pointer is missing, the order has no samples, a size to flip by does not
//           divide D, or pixels are to be both binarised and dequantised; B == 0 is a no-op
// Source    Theis, van den Oord, Bethge 2015, arXiv:1511.01844, section 3.1 (dequantisation)
#pragma once

#include <cstdint>

#include "kernels/batch_order.h"
#include "kernels/exec.h"
#include "kernels/row_stage.h"
#include "kernels/storage.h"

namespace elbo {

enum class Binarise : int { none, threshold, dynamic };

struct Gather {
  const uint8_t* data = nullptr;
  int64_t dim = 0;
  int64_t batch = 0;
  BatchOrder order;
  RowStage stage;  // may be empty
  Binarise binarise = Binarise::none;
  bool dequantise = false;
  bool flip = false;
  int64_t width = 0, channels = 0;  // with flip
  float* x = nullptr;
  bf16* x_bf16 = nullptr;             // x once more, rounded; may be null
  int32_t* index = nullptr;           // which sample each row is; may be null
  const uint8_t* labels = nullptr;    // may be null
  int32_t* label_out = nullptr;       // required with labels
  const float* attributes = nullptr;  // numbers that are known of each sample; may be null
  int64_t attribute_count = 0;
  float* attribute_out = nullptr;  // required with attributes
};

void gather(const Exec& exec, const Gather& args);

}  // namespace elbo
