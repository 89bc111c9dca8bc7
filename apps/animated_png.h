// Animated PNG: pictures of one size, one after the other, for ever. Viewers that do not know the
// extension show the first.
//
//   signature IHDR acTL [fcTL IDAT] [fcTL fdAT] [fcTL fdAT] ... IEND
//   fcTL and fdAT count in one sequence; fdAT is an IDAT with its number in front
//
// Output    the same bytes for the same pixels; frames are not compared with each other
// Errors    ErrorCode::failure if frames differ in size or there is none
// Source    W3C, Portable Network Graphics (PNG) Specification, 3rd edition, 11.3.6
#pragma once

#include <string>
#include <vector>

#include "apps/image_grid.h"

namespace elbo {

std::string animated_png_bytes(const std::vector<Picture>& frames, int frames_per_second);

}  // namespace elbo
