#include "apps/canvas.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include "apps/bitmap_font.h"

namespace elbo {
namespace {

constexpr int64_t kScale = 2;  // of letters in a raster
constexpr int kFontSize = 14;  // of letters in SVG, pixels
constexpr Colour kInk{40, 40, 40};

int64_t text_width(std::string_view text) {
  return static_cast<int64_t>(text.size()) * (kGlyphWidth + 1) * kScale - kScale;
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else {
      out += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
    }
  }
  return out;
}

std::string hex(Colour colour) {
  return fmt::format("#{:02x}{:02x}{:02x}", colour.red, colour.green, colour.blue);
}

}  // namespace

RasterCanvas::RasterCanvas(int64_t width, int64_t height) {
  picture_ = {width, height, 3, {}};
  check_png_size(picture_);
  picture_.pixels.assign(static_cast<size_t>(3 * width * height), 255);
}

void RasterCanvas::blend(int64_t x, int64_t y, Colour colour, double opacity) {
  if (x < 0 || y < 0 || x >= picture_.width || y >= picture_.height) return;
  uint8_t* pixel = picture_.pixels.data() + 3 * (y * picture_.width + x);
  const uint8_t target[] = {colour.red, colour.green, colour.blue};
  for (int c = 0; c < 3; ++c) {
    pixel[c] = static_cast<uint8_t>(std::lround(pixel[c] + opacity * (target[c] - pixel[c])));
  }
}

void RasterCanvas::line(double x0, double y0, double x1, double y1, Colour colour) {
  for (int64_t y = std::llround(std::min(y0, y1)); y <= std::llround(std::max(y0, y1)); ++y) {
    for (int64_t x = std::llround(std::min(x0, x1)); x <= std::llround(std::max(x0, x1)); ++x) {
      blend(x, y, colour, 1);
    }
  }
}

void RasterCanvas::point(double x, double y, double radius, Colour colour, double opacity) {
  const auto reach = static_cast<int64_t>(std::ceil(radius + 1));
  const int64_t left = std::llround(x) - reach, top = std::llround(y) - reach;
  for (int64_t row = top; row <= top + 2 * reach; ++row) {
    for (int64_t column = left; column <= left + 2 * reach; ++column) {
      const double off = std::hypot(static_cast<double>(column) - x, static_cast<double>(row) - y);
      const double coverage = std::clamp(radius + 0.5 - off, 0.0, 1.0);
      if (coverage > 0) blend(column, row, colour, opacity * coverage);
    }
  }
}

void RasterCanvas::text(double x, double y, std::string_view text, Anchor anchor) {
  const int64_t width = text_width(text);
  int64_t left = std::llround(x);
  if (anchor == Anchor::middle) left -= width / 2;
  if (anchor == Anchor::end) left -= width;
  const int64_t top = std::llround(y) - kGlyphHeight * kScale / 2;
  for (const char letter : text) {
    for (int64_t row = 0; row < kGlyphHeight * kScale; ++row) {
      for (int64_t column = 0; column < kGlyphWidth * kScale; ++column) {
        if (glyph_pixel(letter, static_cast<int>(column / kScale), static_cast<int>(row / kScale)))
          blend(left + column, top + row, kInk, 1);
      }
    }
    left += (kGlyphWidth + 1) * kScale;
  }
}

void RasterCanvas::upward_text(double x, double y, std::string_view text) {
  int64_t bottom = std::llround(y) + text_width(text) / 2;
  const int64_t left = std::llround(x) - kGlyphHeight * kScale / 2;
  for (const char letter : text) {
    for (int64_t row = 0; row < kGlyphHeight * kScale; ++row) {
      for (int64_t column = 0; column < kGlyphWidth * kScale; ++column) {
        if (glyph_pixel(letter, static_cast<int>(column / kScale), static_cast<int>(row / kScale)))
          blend(left + row, bottom - column, kInk, 1);
      }
    }
    bottom -= (kGlyphWidth + 1) * kScale;
  }
}

SvgCanvas::SvgCanvas(int64_t width, int64_t height)
    : body_(fmt::format("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" "
                        "viewBox=\"0 0 {0} "
                        "{1}\" font-family=\"sans-serif\" font-size=\"{2}\" fill=\"{3}\">\n"
                        "<rect width=\"{0}\" height=\"{1}\" fill=\"#ffffff\"/>\n",
                        width, height, kFontSize, hex(kInk))) {}

void SvgCanvas::line(double x0, double y0, double x1, double y1, Colour colour) {
  body_ +=
      fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\"/>\n",
                  x0, y0, x1, y1, hex(colour));
}

void SvgCanvas::point(double x, double y, double radius, Colour colour, double opacity) {
  body_ += fmt::format(
      "<circle cx=\"{:.2f}\" cy=\"{:.2f}\" r=\"{:.1f}\" fill=\"{}\" fill-opacity=\"{:.2f}\"/>\n", x,
      y, radius, hex(colour), opacity);
}

void SvgCanvas::text(double x, double y, std::string_view text, Anchor anchor) {
  const char* name = anchor == Anchor::start ? "start" : anchor == Anchor::end ? "end" : "middle";
  body_ +=
      fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" dy=\"0.35em\" text-anchor=\"{}\">{}</text>\n", x,
                  y, name, escaped(text));
}

void SvgCanvas::upward_text(double x, double y, std::string_view text) {
  body_ += fmt::format(
      "<text transform=\"translate({:.1f} {:.1f}) rotate(-90)\" dy=\"0.35em\" "
      "text-anchor=\"middle\">{}</text>\n",
      x, y, escaped(text));
}

}  // namespace elbo
