// What charts are drawn on: pixels from the top left, text in one size.
//
//   RasterCanvas  a Picture, antialiased points, letters of apps/bitmap_font.h
//   SvgCanvas     the same as SVG 1.1
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "apps/image_grid.h"

namespace elbo {

struct Colour {
  uint8_t red = 0, green = 0, blue = 0;
};

enum class Anchor { start, middle, end };

class Canvas {
 public:
  virtual ~Canvas() = default;

  // Lines are horizontal or vertical, one pixel wide.
  virtual void line(double x0, double y0, double x1, double y1, Colour colour) = 0;
  // `opacity` from 0, invisible, to 1.
  virtual void point(double x, double y, double radius, Colour colour, double opacity) = 0;
  // (x, y) is where the text is anchored, at half its height.
  virtual void text(double x, double y, std::string_view text, Anchor anchor) = 0;
  // Reads from below to above, centred.
  virtual void upward_text(double x, double y, std::string_view text) = 0;
};

class RasterCanvas : public Canvas {
 public:
  RasterCanvas(int64_t width, int64_t height);

  void line(double x0, double y0, double x1, double y1, Colour colour) override;
  void point(double x, double y, double radius, Colour colour, double opacity) override;
  void text(double x, double y, std::string_view text, Anchor anchor) override;
  void upward_text(double x, double y, std::string_view text) override;

  const Picture& picture() const { return picture_; }

 private:
  void blend(int64_t x, int64_t y, Colour colour, double opacity);

  Picture picture_;
};

class SvgCanvas : public Canvas {
 public:
  SvgCanvas(int64_t width, int64_t height);

  void line(double x0, double y0, double x1, double y1, Colour colour) override;
  void point(double x, double y, double radius, Colour colour, double opacity) override;
  void text(double x, double y, std::string_view text, Anchor anchor) override;
  void upward_text(double x, double y, std::string_view text) override;

  std::string svg() const { return body_ + "</svg>\n"; }

 private:
  std::string body_;
};

}  // namespace elbo
