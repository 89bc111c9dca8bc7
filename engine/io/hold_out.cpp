#include "engine/io/hold_out.h"

#include <algorithm>
#include <cmath>

#include "kernels/error.h"
#include "kernels/shuffle.h"

namespace elbo {
namespace {

constexpr uint64_t kSplitSeed = 0;  // part of what a split is: never changed

ImageSplit take(const ImageSplit& from, std::span<const int64_t> order) {
  ImageSplit split;
  split.source = from.source;
  split.count = std::ssize(order);
  split.channels = from.channels;
  split.height = from.height;
  split.width = from.width;
  const int64_t size = from.image_bytes();
  split.file.resize(static_cast<size_t>(split.count * size));
  split.attribute_names = from.attribute_names;
  const int64_t numbers = std::ssize(from.attribute_names);
  uint8_t* to = split.pixels().data();
  for (const int64_t i : order) {
    const uint8_t* image = from.pixels().data() + i * size;
    to = std::copy(image, image + size, to);
    if (!from.labels.empty()) split.labels.push_back(from.labels[static_cast<size_t>(i)]);
    const auto row = from.attributes.begin() + i * numbers;
    split.attributes.insert(split.attributes.end(), row, row + numbers);
  }
  return split;
}

void mix(std::vector<FolderFile>& files) {
  std::vector<FolderFile> mixed;
  for (const int64_t i : mixed_order(std::ssize(files)))
    mixed.push_back(std::move(files[static_cast<size_t>(i)]));
  files = std::move(mixed);
}

}  // namespace

std::vector<int64_t> mixed_order(int64_t n) {
  const ShuffleKey key = shuffle_key(kSplitSeed, 0);
  std::vector<int64_t> order(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    order[static_cast<size_t>(i)] = static_cast<int64_t>(
        shuffled_index(static_cast<uint64_t>(i), static_cast<uint64_t>(n), key));
  }
  return order;
}

int64_t held_out_count(int64_t count, double fraction, const std::string& source) {
  if (count < 2) {
    throw_error(ErrorCode::data, source, ": ", count,
                " images, of which some are to be held out for testing; expected at least 2");
  }
  const auto wanted = std::llround(static_cast<double>(count) * fraction);
  return std::clamp<int64_t>(wanted, 1, count - 1);
}

void hold_out(ImageSet& set, double fraction) {
  const int64_t test = held_out_count(set.train.count, fraction, set.train.source);
  const std::vector<int64_t> order = mixed_order(set.train.count);
  const std::span<const int64_t> all = order;
  set.test = take(set.train, all.first(static_cast<size_t>(test)));
  set.train = take(set.train, all.subspan(static_cast<size_t>(test)));
}

void hold_out(FolderListing& listing, double fraction) {
  const auto begin = std::make_move_iterator(listing.files.begin());
  const auto middle = begin + static_cast<int64_t>(listing.train_files);
  std::vector<FolderFile> train(begin, middle);
  std::vector<FolderFile> test(middle, std::make_move_iterator(listing.files.end()));
  mix(train);
  mix(test);
  if (test.empty()) {
    const int64_t count = held_out_count(std::ssize(train), fraction, listing.folder);
    for (int64_t i = 0; i < count; ++i) {
      test.push_back(std::move(train[static_cast<size_t>(i)]));
      test.back().test = true;
    }
    train.erase(train.begin(), train.begin() + count);
  }
  listing.train_files = train.size();
  listing.files = std::move(train);
  for (FolderFile& file : test) listing.files.push_back(std::move(file));
}

}  // namespace elbo
