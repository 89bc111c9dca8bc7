#include "apps/data_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "engine/io/attributes.h"
#include "engine/io/blob.h"

namespace elbo {
namespace {

std::string bytes_text(int64_t bytes) {
  constexpr double kKib = 1024;
  const auto b = static_cast<double>(bytes);
  if (b < kKib) return fmt::format("{} B", bytes);
  if (b < kKib * kKib) return fmt::format("{:.1f} KiB", b / kKib);
  if (b < kKib * kKib * kKib) return fmt::format("{:.1f} MiB", b / (kKib * kKib));
  return fmt::format("{:.2f} GiB", b / (kKib * kKib * kKib));
}

std::string split_line(const std::string& name, const SplitFigures& figures) {
  std::string means, deviations;
  for (const ChannelFigures& channel : figures.channels) {
    means += fmt::format(" {:.4f}", channel.mean);
    deviations += fmt::format(" {:.4f}", channel.deviation);
  }
  return fmt::format("  {:<6}{:>9} images  {:>10}  values {} to {}  mean{}  deviation{}\n", name,
                     figures.images, bytes_text(figures.bytes), figures.lowest, figures.highest,
                     means, deviations);
}

// One line for each label that either split has.
std::string label_lines(const ImageSet& set, const SplitFigures& train, const SplitFigures& test) {
  const size_t labels = std::max(train.per_label.size(), test.per_label.size());
  const auto count = [](const SplitFigures& figures, size_t label) {
    return label < figures.per_label.size() ? figures.per_label[label] : 0;
  };
  if (labels == 0) return "  labels none\n";
  std::string text = fmt::format("  {:<6}{:>9} {:>9}{}\n", "label", "train", "test",
                                 set.class_names.empty() ? "" : "  class");
  for (size_t label = 0; label < labels; ++label) {
    const std::string name = label < set.class_names.size() ? set.class_names[label] : "";
    if (count(train, label) + count(test, label) == 0 && name.empty()) continue;
    text += fmt::format("  {:<6}{:>9} {:>9}{}{}\n", label, count(train, label), count(test, label),
                        name.empty() ? "" : "  ", one_line(name));
  }
  return text;
}

// One line for each attribute, of the training images.
std::string attribute_lines(const ImageSplit& split) {
  size_t widest = std::string_view("attribute").size();
  for (const std::string& name : split.attribute_names)
    widest = std::max(widest, one_line(name).size());
  std::string text =
      fmt::format("  {:<{}} {:>12} {:>12} {:>12} {:>12}  in {} training images\n", "attribute",
                  widest, "mean", "deviation", "lowest", "highest", split.count);
  const auto figures = attribute_figures(split.attributes, std::ssize(split.attribute_names));
  for (size_t a = 0; a < figures.size(); ++a) {
    text += fmt::format("  {:<{}} {:>12.6g} {:>12.6g} {:>12.6g} {:>12.6g}\n",
                        one_line(split.attribute_names[a]), widest, figures[a].mean,
                        figures[a].deviation, figures[a].lowest, figures[a].highest);
  }
  return text;
}

}  // namespace

SplitFigures split_figures(const ImageSplit& split) {
  const auto channels = static_cast<size_t>(split.channels);
  std::vector<std::array<int64_t, 256>> histogram(channels);
  const std::span<const uint8_t> pixels = split.pixels();
  for (size_t i = 0; i < pixels.size(); i += channels) {
    for (size_t c = 0; c < channels; ++c) ++histogram[c][pixels[i + c]];
  }
  SplitFigures figures;
  figures.images = split.count;
  figures.bytes = static_cast<int64_t>(pixels.size());
  figures.lowest = 255;
  for (const auto& counts : histogram) {
    double n = 0, sum = 0, squares = 0;  // whole numbers below 2^53 for sets of below 2^37 bytes
    for (int value = 0; value < 256; ++value) {
      const int64_t count = counts[static_cast<size_t>(value)];
      if (count > 0) figures.lowest = std::min(figures.lowest, value);
      if (count > 0) figures.highest = std::max(figures.highest, value);
      n += static_cast<double>(count);
      sum += static_cast<double>(count) * value;
      squares += static_cast<double>(count) * value * value;
    }
    const double mean = sum / n;
    figures.channels.push_back(
        {mean / 255, std::sqrt(std::max(squares / n - mean * mean, 0.0)) / 255});
  }
  for (const uint8_t label : split.labels) {
    if (label >= figures.per_label.size()) figures.per_label.resize(size_t{label} + 1);
    ++figures.per_label[label];
  }
  return figures;
}

std::string data_report(const ImageSet& set, const std::string& path) {
  const SplitFigures train = split_figures(set.train), test = split_figures(set.test);
  std::string text = fmt::format("{}: {}, images of {} (height x width)\n", one_line(path),
                                 set.format, image_size_text(set.train));
  text += split_line("train", train) + split_line("test", test);
  text += label_lines(set, train, test);
  return set.train.attribute_names.empty() ? text : text + attribute_lines(set.train);
}

}  // namespace elbo
