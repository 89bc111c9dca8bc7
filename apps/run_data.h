// The images that a configuration names.
//
// IDX       the two splits of the directory data.path, each cut to data.{train,test}_samples
// Sprites   training items first, test items after them: no image is in both
// Errors    ErrorCode::usage if data.path is needed and missing, ErrorCode::data for its files
#pragma once

#include "engine/image_data.h"
#include "engine/io/file_ops.h"
#include "models/config.h"

namespace elbo {

struct RunData {
  ImageData train;
  ImageData test;
};

RunData open_run_data(Context& context, Fs& fs, const DataConfig& config);

// The test split alone.
ImageData open_test_data(Context& context, Fs& fs, const DataConfig& config);

// How many sprites belong to which split; 0 in the configuration takes what the other leaves.
struct SpriteSplit {
  int64_t train = 0, test = 0;
};
SpriteSplit sprite_split(const DataConfig& config);

}  // namespace elbo
