// What charts are made of: letters, canvas, ticks; and animations.
#include "apps/scatter_chart.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <set>

#include "apps/animated_png.h"
#include "apps/bitmap_font.h"
#include "kernels/error.h"
#include "tests/apps/png_reader.h"

namespace elbo {
namespace {

std::string art(char letter) {
  std::string rows;
  for (int y = 0; y < kGlyphHeight; ++y) {
    for (int x = 0; x < kGlyphWidth; ++x) rows += glyph_pixel(letter, x, y) ? '#' : '.';
    rows += '\n';
  }
  return rows;
}

TEST(BitmapFont, HasLetters) {
  EXPECT_EQ(art('R'), "####.\n#...#\n#...#\n####.\n#.#..\n#..#.\n#...#\n.....\n");
  EXPECT_EQ(art('g'), ".....\n.....\n.####\n#...#\n#...#\n.####\n....#\n.###.\n");
  EXPECT_EQ(art(' '),
            std::string("\n.....\n.....\n.....\n.....\n.....\n.....\n.....\n.....\n").substr(1));
  // Every letter that a chart may need has a glyph of its own.
  std::set<std::string> seen = {art('\x01')};
  for (const char letter : std::string("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                       "0123456789 .,:-+=%()/_#'")) {
    EXPECT_TRUE(seen.insert(art(letter)).second) << letter;
  }
}

TEST(Chart, TicksAreRoundAndWithin) {
  EXPECT_EQ(round_ticks(-3.2, 3.1, 6), (std::vector<double>{-3, -2, -1, 0, 1, 2, 3}));
  EXPECT_EQ(round_ticks(0, 10, 5), (std::vector<double>{0, 2, 4, 6, 8, 10}));
  EXPECT_EQ(round_ticks(99, 1011, 4), (std::vector<double>{200, 400, 600, 800, 1000}));
  const std::vector<double> small = round_ticks(1e-5, 3.2e-5, 4);
  ASSERT_EQ(small.size(), 5u);
  EXPECT_NEAR(small[0], 1e-5, 1e-18);
  EXPECT_THROW(round_ticks(1, 1, 4), Error);
}

// A canvas that writes down what it is asked to draw.
class Recorder : public Canvas {
 public:
  void line(double, double, double, double, Colour) override {}
  void point(double x, double y, double, Colour colour, double opacity) override {
    if (opacity < 1) points.push_back({x, y, static_cast<double>(colour.red)});
  }
  void text(double x, double y, std::string_view text, Anchor) override {
    texts.push_back({std::string(text), x, y});
  }
  void upward_text(double, double, std::string_view text) override { upward = text; }

  struct Text {
    std::string text;
    double x, y;
  };
  const Text& at(const std::string& text) const {
    return *std::find_if(texts.begin(), texts.end(),
                         [&](const Text& one) { return one.text == text; });
  }
  std::vector<std::vector<double>> points;
  std::vector<Text> texts;
  std::string upward;
};

TEST(Chart, PutsPointsWhereTheTicksSay) {
  ScatterChart chart;
  chart.title = "T";
  chart.x_label = "X";
  chart.y_label = "Y";
  chart.points = {0, 0, 10, 200, 5, 100};
  chart.groups = {33, 0, 33};
  chart.group_names = {"zero"};  // the other has none
  Recorder canvas;
  draw_scatter(canvas, chart);
  ASSERT_EQ(canvas.points.size(), 3u);
  EXPECT_NEAR(canvas.points[1][0], canvas.at("10").x, 1e-9);
  EXPECT_NEAR(canvas.points[1][1], canvas.at("200").y, 1e-9);
  EXPECT_NEAR(canvas.points[2][1], canvas.at("100").y, 1e-9);
  EXPECT_NEAR(canvas.points[2][0], (canvas.points[0][0] + canvas.points[1][0]) / 2, 1e-9);
  EXPECT_LT(canvas.points[1][1], canvas.points[0][1]);  // large values are above
  EXPECT_EQ(canvas.points[0][2], canvas.points[2][2]);  // of one group
  EXPECT_NE(canvas.points[0][2], canvas.points[1][2]);
  EXPECT_EQ(canvas.at("zero").x, canvas.at("33").x);  // the legend
  EXPECT_EQ(canvas.upward, "Y");
}

TEST(Chart, TakesPointsThatAreAllInOnePlace) {
  ScatterChart chart;
  chart.points = {3, 3, 3, 3};
  Recorder canvas;
  draw_scatter(canvas, chart);
  EXPECT_EQ(canvas.points[0], canvas.points[1]);
  chart.points = {1, 2, 3};
  EXPECT_THROW(draw_scatter(canvas, chart), Error);
}

TEST(Canvas, RasterPointsAreRoundAndBlend) {
  RasterCanvas canvas(20, 20);
  canvas.point(10, 10, 3, {0, 0, 0}, 0.5);
  const auto shade = [&](int64_t x, int64_t y) {
    return canvas.picture().pixels[static_cast<size_t>(3 * (y * 20 + x))];
  };
  EXPECT_EQ(shade(10, 10), 128);
  EXPECT_EQ(shade(13, 10), 191);  // the edge runs through it: half of a half
  EXPECT_EQ(shade(14, 10), 255);
  EXPECT_EQ(shade(13, 13), 255);
  canvas.point(10, 10, 3, {0, 0, 0}, 0.5);
  EXPECT_EQ(shade(10, 10), 64);
  canvas.point(-1, 25, 3, {0, 0, 0}, 1);  // outside: no harm
}

TEST(Canvas, SvgTextIsEscaped) {
  SvgCanvas canvas(10, 10);
  canvas.text(1, 2, "a<b&c\x01", Anchor::end);
  EXPECT_NE(canvas.svg().find(">a&lt;b&amp;c?</text>\n</svg>"), std::string::npos) << canvas.svg();
}

TEST(AnimatedPng, HoldsAllFrames) {
  std::vector<Picture> frames;
  for (uint8_t shade = 0; shade < 3; ++shade) {
    frames.push_back({2, 2, 1, std::vector<uint8_t>(4, static_cast<uint8_t>(shade * 100))});
  }
  const std::string png = animated_png_bytes(frames, 10);
  EXPECT_EQ(testing_apps::decode_png(png).pixels, frames[0].pixels);  // and checks all checksums
  uint32_t sequence = 0;
  std::string order;
  for (size_t at = 8; at + 12 <= png.size(); at += 12 + testing_apps::big_endian(png, at)) {
    const std::string type = png.substr(at + 4, 4);
    order += type + " ";
    if (type == "fcTL" || type == "fdAT") {
      EXPECT_EQ(testing_apps::big_endian(png, at + 8), sequence++);
    }
    if (type != "fdAT") continue;
    const uint32_t size = testing_apps::big_endian(png, at) - 4;
    uint8_t rows[6] = {};  // a filter and two pixels each
    uLongf bytes = sizeof rows;
    ASSERT_EQ(uncompress(rows, &bytes, reinterpret_cast<const Bytef*>(png.data() + at + 12), size),
              Z_OK);
    EXPECT_EQ(rows[1], sequence == 3 ? 100 : 200);
  }
  EXPECT_EQ(order, "IHDR acTL fcTL IDAT fcTL fdAT fcTL fdAT IEND ");
  EXPECT_THROW(animated_png_bytes({}, 10), Error);
  frames[1].width = 1;
  EXPECT_THROW(animated_png_bytes(frames, 10), Error);
}

}  // namespace
}  // namespace elbo
