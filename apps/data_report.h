// What an image set holds, in figures and text.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/io/image_set.h"

namespace elbo {

// Exact: sums of whole numbers, divided once.
struct ChannelFigures {
  double mean = 0, deviation = 0;  // of pixels / 255; the deviation is that of all, not of a sample
};

struct SplitFigures {
  int64_t images = 0, bytes = 0;
  int lowest = 0, highest = 0;           // stored values
  std::vector<ChannelFigures> channels;  // one entry each
  std::vector<int64_t> per_label;        // up to the highest label; empty without labels
};

SplitFigures split_figures(const ImageSplit& split);

// Ends with a new line. `path` is what the user called it.
std::string data_report(const ImageSet& set, const std::string& path);

}  // namespace elbo
