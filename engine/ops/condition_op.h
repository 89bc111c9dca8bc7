// What a network is conditioned on, as more of its input (kernels/append_label.h).
//
//   append_label   x [B * k, ..., C], label [B] int32 -> [B * k, ..., C + classes], one-hot beside every
//                  pixel; k rows after each other have the same label, as repeat_rows() puts them
//
//   append_attributes   the same with attributes, f32 [B, A], each less `mean` and divided by
//                  `deviation`, [A] of the type that x is computed in (f64 for f64, else f32)
//
// Works on f32 and bf16, and on f64 on the CPU.
// Gradient  dx = dy without the label's or the attributes' part
// Errors    elbo::Error if x has no batch, or its rows do not divide among the labels or attributes
#pragma once

#include "engine/ops/op_support.h"

namespace elbo {

Tensor append_label(Tape& tape, const Tensor& x, const Tensor& label, int64_t classes);

Tensor append_attributes(Tape& tape, const Tensor& x, const Tensor& attributes, const Tensor& mean,
                         const Tensor& deviation);

}  // namespace elbo
