// Bounds of images whose label may be hidden (kernels/label_bound.h): every label is tried, and a
// classifier says what each counts.
//
//   hidden_labels   the classifier's guess and what is known, as the other two need it
//   label_rows      what nll and kl of each label weigh, and the labels to try, [B * C]: those of
//                   an image after each other, as repeat_rows() puts its rows
//   label_bound     nats per image, and what nll and kl are in the mean over an image's labels, [B]
//
// Shapes    logits [B, C]; label [B] int32, below 0 where it is hidden, or no tensor: all are;
//           recon, kl_weight [1]; nll [B * C], or [parts * B * C] as likelihood_layer() says; kl [B
//           * C]
// Gradient  label_bound's of the logits starts at `weight`, as those of likelihoods do; nll and kl
//           start theirs at label_rows' weights, so that the two together are the gradient of the
//           bound
// Works on f32, and on f64 on the CPU.
// Errors    elbo::Error if shapes disagree
#pragma once

#include "engine/ops/op_support.h"

namespace elbo {

struct HiddenLabels {
  Tensor logits, log_sum, label, recon, kl_weight;

  int64_t images() const { return logits.shape[0]; }
  int64_t classes() const { return logits.shape[1]; }
};

HiddenLabels hidden_labels(Tape& tape, const Tensor& logits, const Tensor& label,
                           const Tensor& recon, const Tensor& kl_weight);

struct LabelRows {
  Tensor recon, kl;  // weights
  Tensor label;      // int32
};
LabelRows label_rows(Tape& tape, const HiddenLabels& hidden);

struct LabelBoundTerms {
  Tensor loss, nll, kl;
};
LabelBoundTerms label_bound(Tape& tape, const HiddenLabels& hidden, const Tensor& nll,
                            const Tensor& kl, double label_weight, const RowWeight& weight);

}  // namespace elbo
