// Corruptions of a model's input as text: the links of a chain, with commas between them.
//
//   gaussian:SIGMA[:MEAN]     add noise N(MEAN, SIGMA^2), not clipped
//   mask:P                    a share P of pixels becomes 0
//   square:SIZE[:COUNT]       COUNT (1) squares of SIZE x SIZE pixels become 0
//   salt-pepper:P             a share P of pixels becomes 0 or 1
//   blur:SIGMA                Gaussian blur, SIGMA pixels wide
//   motion:LENGTH[:ANGLE]     blur along LENGTH pixels, ANGLE degrees (0) from the horizontal
//   downsample:F[:nearest]    1/F as high and wide, and enlarged again: [:bilinear] unless nearest
//
// "gaussian:0.1,blur:2" adds noise and blurs the sum: blur(x + eps). "" and "none" are the empty chain.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kernels/corruption.h"

namespace elbo {

// Throws ErrorCode::usage naming the part that is wrong and what is possible.
std::vector<Corruption> parse_corruptions(std::string_view text);

// Throws ErrorCode::usage, beginning with `text`, if a link does not fit such images.
void check_corruptions(const std::vector<Corruption>& chain, const ImageSize& image,
                       std::string_view text);

}  // namespace elbo
