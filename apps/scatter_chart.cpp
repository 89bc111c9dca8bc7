#include "apps/scatter_chart.h"

#include <algorithm>
#include <cmath>
#include <set>

#include <fmt/format.h>
#include "kernels/error.h"

namespace elbo {
namespace {

constexpr double kLeft = 90, kRight = 140, kTop = 50, kBottom = 70;  // margins, pixels
constexpr double kMargin = 0.04;  // around the points, of their extent
constexpr double kTick = 6, kLegendLine = 22, kRadius = 2.5, kOpacity = 0.6;
constexpr Colour kAxis{90, 90, 90}, kGrid{230, 230, 230};
constexpr size_t kLongestName = 9;  // letters that fit beside the chart

// One axis: data to pixels, ticks.
struct Axis {
  double low = 0, high = 1, from = 0, to = 1;
  std::vector<double> ticks;

  double at(double value) const { return from + (value - low) / (high - low) * (to - from); }
};

Axis axis_of(const ScatterChart& chart, size_t which, double from, double to, int ticks) {
  Axis axis;
  axis.from = from;
  axis.to = to;
  axis.low = axis.high = chart.points[which];
  for (size_t i = which; i < chart.points.size(); i += 2) {
    axis.low = std::min(axis.low, static_cast<double>(chart.points[i]));
    axis.high = std::max(axis.high, static_cast<double>(chart.points[i]));
  }
  const double extent = axis.high - axis.low;
  const double margin = extent > 0 ? kMargin * extent : 1.0;  // all points in one place
  axis.low -= margin;
  axis.high += margin;
  axis.ticks = round_ticks(axis.low, axis.high, ticks);
  return axis;
}

std::string tick_text(double value) { return fmt::format("{:.6g}", value); }

void draw_axes(Canvas& canvas, const ScatterChart& chart, const Axis& x, const Axis& y) {
  for (const double tick : x.ticks) {
    canvas.line(x.at(tick), y.to, x.at(tick), y.from, kGrid);
    canvas.line(x.at(tick), y.from, x.at(tick), y.from + kTick, kAxis);
    canvas.text(x.at(tick), y.from + kTick + 12, tick_text(tick), Anchor::middle);
  }
  for (const double tick : y.ticks) {
    canvas.line(x.from, y.at(tick), x.to, y.at(tick), kGrid);
    canvas.line(x.from - kTick, y.at(tick), x.from, y.at(tick), kAxis);
    canvas.text(x.from - kTick - 6, y.at(tick), tick_text(tick), Anchor::end);
  }
  canvas.line(x.from, y.from, x.to, y.from, kAxis);
  canvas.line(x.from, y.to, x.from, y.from, kAxis);
  canvas.text((x.from + x.to) / 2, static_cast<double>(kChartHeight) - 20, chart.x_label,
              Anchor::middle);
  canvas.upward_text(20, (y.from + y.to) / 2, chart.y_label);
  canvas.text((x.from + x.to) / 2, kTop / 2, chart.title, Anchor::middle);
}

void draw_legend(Canvas& canvas, const ScatterChart& chart, const Axis& x) {
  const std::set<uint8_t> groups(chart.groups.begin(), chart.groups.end());
  double y = kTop + 10;
  for (const uint8_t group : groups) {
    if (y > static_cast<double>(kChartHeight) - kBottom) return;  // the rest has no room
    std::string name =
        group < chart.group_names.size() ? chart.group_names[group] : std::to_string(group);
    if (name.size() > kLongestName) name = name.substr(0, kLongestName - 1) + ".";
    canvas.point(x.to + 18, y, 2 * kRadius, group_colour(group), 1);
    canvas.text(x.to + 30, y, name, Anchor::start);
    y += kLegendLine;
  }
}

}  // namespace

std::vector<double> round_ticks(double low, double high, int count) {
  ELBO_CHECK(low < high && std::isfinite(high - low) && count > 0, "ticks from ", low, " to ", high,
             ": expected a finite range");
  const double rough = (high - low) / count;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  const double factor = rough / power;
  const double step = power * (factor < 1.5 ? 1 : factor < 3.5 ? 2 : factor < 7.5 ? 5 : 10);
  constexpr double kRounding = 1e-9;  // of a step: a tick at the very end of the range counts
  std::vector<double> ticks;
  for (double i = std::ceil(low / step - kRounding); i <= high / step + kRounding; ++i) {
    ticks.push_back(i == 0 ? 0 : i * step);  // not -0
  }
  return ticks;
}

Colour group_colour(int group) {
  constexpr Colour kColours[] = {{31, 119, 180},  {255, 127, 14}, {44, 160, 44},   {214, 39, 40},
                                 {148, 103, 189}, {140, 86, 75},  {227, 119, 194}, {127, 127, 127},
                                 {188, 189, 34},  {23, 190, 207}};
  constexpr int kCount = static_cast<int>(std::size(kColours));
  const Colour base = kColours[group % kCount];
  const int round = group / kCount % 4;
  const auto shade = [&](int value) {
    const int shifted = round == 0   ? value
                        : round == 1 ? value * 6 / 10
                        : round == 2 ? 255 - (255 - value) * 6 / 10
                                     : value * 3 / 10;
    return static_cast<uint8_t>(shifted);
  };
  return {shade(base.red), shade(base.green), shade(base.blue)};
}

void draw_scatter(Canvas& canvas, const ScatterChart& chart) {
  ELBO_CHECK(!chart.points.empty() && chart.points.size() % 2 == 0 &&
                 (chart.groups.empty() || 2 * chart.groups.size() == chart.points.size()),
             "scatter: ", chart.points.size(), " coordinates and ", chart.groups.size(),
             " groups do not fit together");
  const Axis x = axis_of(chart, 0, kLeft, static_cast<double>(kChartWidth) - kRight, 8);
  const Axis y = axis_of(chart, 1, static_cast<double>(kChartHeight) - kBottom, kTop, 7);
  draw_axes(canvas, chart, x, y);
  // In the order of the data, so that no group hides all others.
  for (size_t i = 0; 2 * i < chart.points.size(); ++i) {
    const int group = chart.groups.empty() ? 0 : chart.groups[i];
    canvas.point(x.at(chart.points[2 * i]), y.at(chart.points[2 * i + 1]), kRadius,
                 group_colour(group), kOpacity);
  }
  draw_legend(canvas, chart, x);
}

}  // namespace elbo
