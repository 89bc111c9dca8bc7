// The small ops that everything else is composed of.
//
//   add, mul         y = a + b, a * b            element by element, equal shapes
//   cast             y = x as f32 or bf16        x itself if it is
//   scale            y = factor * x
//   concat_cols      y = [a | b]                 [B, D1], [B, D2] -> [B, D1 + D2]
//   slice_cols       y = x[:, begin:end]
//   repeat_rows      each row `times` times in a row: [B, D] -> [B * times, D]
//   sum_rows         y[b] = sum_d x[b,d]         [B, D] -> [B]
//   sum_all          y = sum of all elements     -> [1]
//   logsumexp_rows   y[b] = log sum_d exp x[b,d] [B, D] -> [B]
//   cross_entropy    nats per row from logits and int32 labels; with a weight, loss and gradient are
//                    one pass
//   reshape          the same memory under another shape; so is its gradient, if x has no other consumer
//   flatten          reshape of [B, ...] to [B, D]
//   detach           x as a constant: no gradient goes through
//   scale_grad       x itself, with its gradient multiplied on the way back (-1: gradient reversal)
//
// Every op works on f32, and on f64 on the CPU; add, cast, reshape, flatten and detach on bf16 too.
// Errors    elbo::Error if shapes disagree
#pragma once

#include "engine/ops/op_support.h"

namespace elbo {

Tensor add(Tape& tape, const Tensor& a, const Tensor& b);
Tensor mul(Tape& tape, const Tensor& a, const Tensor& b);
Tensor cast(Tape& tape, const Tensor& x, DType type);
Tensor scale(Tape& tape, const Tensor& x, double factor);
Tensor concat_cols(Tape& tape, const Tensor& a, const Tensor& b);
Tensor slice_cols(Tape& tape, const Tensor& x, int64_t begin, int64_t end);
Tensor repeat_rows(Tape& tape, const Tensor& x, int64_t times);
Tensor sum_rows(Tape& tape, const Tensor& x);
Tensor sum_all(Tape& tape, const Tensor& x);
Tensor logsumexp_rows(Tape& tape, const Tensor& x);
Tensor cross_entropy(Tape& tape, const Tensor& logits, const Tensor& labels,
                     const RowWeight& weight);
Tensor reshape(Tape& tape, const Tensor& x, Shape shape);
Tensor flatten(Tape& tape, const Tensor& x);
Tensor detach(const Tensor& x);
Tensor scale_grad(Tape& tape, const Tensor& x, double factor);

}  // namespace elbo
