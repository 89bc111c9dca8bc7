// What a network is conditioned on, as more of its input (kernels/append_label.h).
//
//   append_label   x [B, ..., C], label [B] int32 -> [B, ..., C + classes], one-hot beside every pixel
//
// Works on f32 and bf16, and on f64 on the CPU.
// Gradient  dx = dy without the label's part
// Errors    elbo::Error if x has no batch, or there is not one label per row of it
#pragma once

#include "engine/ops/op_support.h"

namespace elbo {

Tensor append_label(Tape& tape, const Tensor& x, const Tensor& label, int64_t classes);

}  // namespace elbo
