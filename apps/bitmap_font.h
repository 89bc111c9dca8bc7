// Letters of 5 x 8 pixels for charts.
#pragma once

#include <cstdint>

namespace elbo {

inline constexpr int kGlyphWidth = 5, kGlyphHeight = 8;  // the lowest row is for descenders

// Is pixel (x, y) of a letter set? A frame stands for characters that the font does not have.
bool glyph_pixel(char letter, int x, int y);

}  // namespace elbo
