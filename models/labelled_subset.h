// Which images of a training set have their labels known, where only some do.
//
//   labelled_count    of `images`: `labelled` of them if it is more than 1, else this share; 0: all
//   choose_labelled   as many of each class as possible: in turn one of each class that has some
//                     left, in an order of its images that the seed chooses. 1 where the label is
//                     known.
//
// Errors    ErrorCode::usage naming data.labelled: more than there are, a fraction of an image, or
//           fewer than there are classes
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace elbo {

int64_t labelled_count(double labelled, int64_t images);
std::vector<uint8_t> choose_labelled(std::span<const uint8_t> labels, int64_t count, uint64_t seed);

}  // namespace elbo
