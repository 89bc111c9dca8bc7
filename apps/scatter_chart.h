// A scatter chart: points in two dimensions, coloured by group, with axes, ticks and a legend.
#pragma once

#include <string>
#include <vector>

#include "apps/canvas.h"

namespace elbo {

struct ScatterChart {
  std::string title, x_label, y_label;
  std::vector<float> points;             // [n, 2]
  std::vector<uint8_t> groups;           // [n], or empty: all in one
  std::vector<std::string> group_names;  // of the legend, by group; of those that have points
};

inline constexpr int64_t kChartWidth = 900, kChartHeight = 700;  // pixels

void draw_scatter(Canvas& canvas, const ScatterChart& chart);

// Round numbers (1, 2 or 5 times a power of ten apart), about `count` of them, within [low, high].
std::vector<double> round_ticks(double low, double high, int count);

// Distinct for the first ten, then repeating in lighter and darker shades.
Colour group_colour(int group);

}  // namespace elbo
