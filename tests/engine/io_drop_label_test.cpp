#include <gtest/gtest.h>

#include "engine/io/image_set.h"
#include "kernels/error.h"

namespace elbo {
namespace {

// Images of 1 x 2 pixels: (label, index).
ImageSplit split_of(const std::vector<uint8_t>& labels) {
  ImageSplit split;
  split.source = "x";
  split.count = std::ssize(labels);
  split.height = 1;
  split.width = 2;
  split.pixels_begin = 3;
  split.file.resize(3);
  split.labels = labels;
  for (size_t i = 0; i < labels.size(); ++i) {
    split.file.push_back(static_cast<std::byte>(labels[i]));
    split.file.push_back(static_cast<std::byte>(i));
  }
  return split;
}

TEST(DropLabel, KeepsTheOthersInTheirOrder) {
  ImageSplit split = split_of({5, 7, 7, 6, 7, 5});
  split.attribute_names = {"twice", "minus"};
  for (int i = 0; i < 6; ++i) {
    split.attributes.push_back(2.0f * static_cast<float>(i));
    split.attributes.push_back(static_cast<float>(-i));
  }
  drop_label(split, 7);
  EXPECT_EQ(split.attributes, (std::vector<float>{0, 0, 6, -3, 10, -5}));
  EXPECT_EQ(split.count, 3);
  EXPECT_EQ(split.labels, (std::vector<uint8_t>{5, 6, 5}));
  const std::vector<uint8_t> pixels(split.pixels().begin(), split.pixels().end());
  EXPECT_EQ(pixels, (std::vector<uint8_t>{5, 0, 6, 3, 5, 5}));
}

TEST(DropLabel, RefusesToLeaveOutNothingOrEverything) {
  ImageSplit split = split_of({1, 1});
  EXPECT_THROW(drop_label(split, 1), Error);
  EXPECT_THROW(drop_label(split, 2), Error);
  EXPECT_EQ(split_of({1, 1}).labels, split.labels);
  split.labels.clear();
  EXPECT_THROW(drop_label(split, 1), Error);
}

}  // namespace
}  // namespace elbo
