// The images that a configuration names.
//
// Images    the two splits of the set at data.path, each cut to data.{train,test}_samples; what the
//           set looks like is found out by engine/io/open_images.h
// Sprites   training items first, test items after them: no image is in both
// Errors    ErrorCode::usage if data.path is needed and missing, or a key does not go with such data;
//           ErrorCode::data for files
#pragma once

#include <optional>

#include "engine/image_data.h"
#include "engine/io/open_images.h"
#include "models/config.h"

namespace elbo {

struct RunData {
  ImageData train;
  ImageData test;
};

// What a run wants of its images' attributes: those that data.attributes names, if the model is told any.
AttributeWish attribute_wish(const RunConfig& config);

RunData open_run_data(Context& context, Fs& fs, const DataConfig& config, const AttributeWish& wish,
                      Log& log);

// Settles how many labels a conditional model has, or which attributes, from the data unless the
// configuration says so. Throws ErrorCode::data if the images have none, or others.
void settle_condition(RunConfig& config, const RunData& data);

// Hides the labels of all training images but those that data.labelled leaves, chosen by the run's
// seed, and gives the model the classifier that they need.
void hide_labels(Context& context, RunConfig& config, RunData& data);

// The test split alone.
ImageData open_test_data(Context& context, Fs& fs, const DataConfig& config,
                         const AttributeWish& wish, Log& log);

// The whole set, in host memory. Not for sprites.
ImageSet open_images(Fs& fs, const DataConfig& config, const AttributeWish& wish, Log& log);

// Throws ErrorCode::usage if a size is asked for that only picture files can be brought to.
void check_asked_size(const ImageSet& set, const DataConfig& config);

// What `config` becomes if a trained model is used with images of another place: picture files are
// brought to the size of its own, if that is known.
DataConfig other_data(DataConfig config, const std::string& path,
                      const std::optional<ImageShape>& shape);

// How many sprites belong to which split; 0 in the configuration takes what the other leaves.
struct SpriteSplit {
  int64_t train = 0, test = 0;
};
SpriteSplit sprite_split(const DataConfig& config);

// Shapes of items [first, first + count) of the sprites, which stand for their labels.
std::vector<uint8_t> sprite_labels(int64_t first, int64_t count);

}  // namespace elbo
