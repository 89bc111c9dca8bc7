// A picture brought to a given size.
//
// It is scaled, both sides alike, until it just covers the size, and its middle is cut out. Scaling is
// bilinear; where it shrinks, the triangle is widened to what one new pixel covers, so that no source
// pixel is skipped (as Pillow's BILINEAR, and antialias=True elsewhere). A picture that has the size
// is not touched, one that is only cut keeps its values.
//
// Numerics  fp32 sums in a fixed order, rounded to the nearest byte
#pragma once

#include "engine/io/image_file.h"

namespace elbo {

// [height, width, channels of the raster].
std::vector<uint8_t> fit_picture(const Raster& raster, int64_t height, int64_t width);

}  // namespace elbo
