// Test images for sets that bring none.
//
// Which images are held out depends on how many there are and on nothing else: not on a run's seed, so
// that every run and every evaluation sees the same split.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/io/image_folder.h"
#include "engine/io/image_set.h"

namespace elbo {

// Numbers 0 to n - 1 in a fixed random order: the keyed bijection of kernels/shuffle.h.
std::vector<int64_t> mixed_order(int64_t n);

// How many of `count` images are held out: at least one, and not all. Throws ErrorCode::data naming
// `source` if there are fewer than two.
int64_t held_out_count(int64_t count, double fraction, const std::string& source);

// Moves that share of the training images to the test split, which must be empty.
void hold_out(ImageSet& set, double fraction);

// The same before any file is read. Also mixes the order of both splits, since the first N files by
// name would all be of one class.
void hold_out(FolderListing& listing, double fraction);

}  // namespace elbo
