// A layer of an encoder or decoder as one line of text.
//
//   conv OUT kK [sS] [pP] [dD] [NORM] [ACTIVATION]           convolution; padding (d (k - 1)) / 2
//   convt OUT kK [sS] [pP] [dD] [opN] [NORM] [ACTIVATION]    transposed; opN is found if left out
//   linear OUT [NORM] [ACTIVATION]                           fully connected
//   reshape CxHxW                                            the pixels of a vector
//   upsample N [nearest|bilinear]                            N times as high and wide
//   avgpool kK [sS] [pP]                                     stride as the kernel
//   norm NORM [ACTIVATION]                                   normalisation alone
//   res OUT [NORM] [ACTIVATION]                              residual block: twice normalise, activate,
//                                                            3x3 convolution; default gn32 silu
//   attention [NORM]                                         residual self-attention, one head
//
// OUT is a number of channels or outputs; "image": as many as the picture has; "flat": as many as the
// encoder's features have in all. K, S, P, D, N are one number or HxW. NORM is bn (batch) or gnG (group
// of G groups). ACTIVATION as in kernels/activation.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/ops/conv_op.h"
#include "kernels/activation.h"

namespace elbo {

enum class LayerKind : int {
  conv,
  conv_transpose,
  linear,
  reshape,
  upsample,
  avg_pool,
  norm,
  residual,
  attention
};
enum class NormKind : int { none, batch, group };

struct LayerSpec {
  static constexpr int64_t kImage = -1, kFlat = -2;  // values of `out` that depend on the data

  LayerKind kind = LayerKind::linear;
  int64_t out = 0;
  ConvWindow window;  // of avg_pool too; of upsample the factor is its stride
  std::optional<OutputPadding> output_padding;
  NormKind norm = NormKind::none;
  int64_t groups = 0;
  Activation activation = Activation::identity;
  ImageSize image;  // reshape
  bool bilinear = false;
  std::string text;

  bool spatial() const { return kind != LayerKind::linear && kind != LayerKind::reshape; }
};

// Throws ErrorCode::usage naming the line, the word and what is possible.
LayerSpec parse_layer(std::string_view text);
std::vector<LayerSpec> parse_layers(const std::vector<std::string>& lines);

}  // namespace elbo
