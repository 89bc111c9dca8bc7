#include "apps/run_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "kernels/sprites.h"
#include "models/corruption_text.h"
#include "models/labelled_subset.h"

namespace elbo {
namespace {

// Of the sprites, when nobody says how many are to be held out.
constexpr int64_t kDefaultTestSprites = 10000;

// data.cache "off" is none, empty the place that the XDG base directories name for such things.
std::string cache_directory(const DataConfig& config) {
  if (config.cache == "off") return "";
  if (!config.cache.empty()) return config.cache;
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && cache[0] == '/') return join_path(cache, "elbo");
  const char* home = std::getenv("HOME");
  return home != nullptr && home[0] == '/' ? join_path(home, ".cache/elbo") : "";
}

void check_changes(const DataConfig& config) {
  if (config.dequantise && config.binarise != Binarise::none) {
    throw Error(ErrorCode::usage,
                "data.dequantise is true and data.binarise is not \"none\"; choose one");
  }
  const bool changed = config.dequantise || config.flip || config.leave_out >= 0;
  if (config.kind == DataKind::sprites && changed) {
    throw_error(ErrorCode::usage,
                config.flip         ? "data.flip"
                : config.dequantise ? "data.dequantise"
                                    : "data.leave_out",
                " works on stored images, and sprites are drawn as they are needed; turn it off");
  }
}

// What is done to images for training. Testing leaves out what is drawn afresh each step.
ImageChanges checked_changes(const DataConfig& config, const ImageShape& shape) {
  ImageChanges changes{config.flip, config.dequantise, parse_corruptions(config.corrupt)};
  check_corruptions(changes.corrupt, shape.as_size(), config.corrupt);
  return changes;
}

ImageChanges test_changes(const DataConfig& config, const ImageSplit& split) {
  ImageChanges changes = checked_changes(config, {split.channels, split.height, split.width});
  changes.flip = false;
  return changes;
}

// Where images go: to the device as long as there is room for them.
class DeviceBudget {
 public:
  DeviceBudget(Context& context, const DataConfig& config, Log& log)
      : context_(context), log_(log), left_(context.free_bytes() / 2) {
    if (config.device_mb > 0) left_ = static_cast<size_t>(config.device_mb) << 20;
  }

  ImageData place(const ImageSplit& split, int64_t limit, const ImageChanges& changes,
                  const char* name) {
    const int64_t count = limit > 0 ? std::min(limit, split.count) : split.count;
    const auto attributes = static_cast<size_t>(count) * split.attribute_names.size();
    left_ -= std::min(attributes * sizeof(float), left_);  // on the device wherever the images are
    const auto bytes = static_cast<size_t>(count * split.image_bytes());
    const bool fits = bytes <= left_ || context_.device() == Device::cpu;
    if (fits) {
      left_ -= std::min(bytes, left_);
    } else {
      constexpr double kMib = 1 << 20;
      log_.note(
          fmt::format("the {} images, {:.1f} MiB, stay in host memory and are read from "
                      "there batch by batch; for images on the device there are {:.1f} MiB "
                      "(data.device_mb)",
                      name, static_cast<double>(bytes) / kMib, static_cast<double>(left_) / kMib));
    }
    return ImageData::from_split(context_, split, limit, changes,
                                 fits ? Role::data : Role::host_data);
  }

 private:
  Context& context_;
  Log& log_;
  size_t left_;  // bytes
};

ImageData drawn_sprites(const DataConfig& config, const AttributeWish& wish, int64_t count,
                        int64_t offset) {
  check_changes(config);
  return ImageData::sprites(config.resolution, count, offset,
                            checked_changes(config, {1, config.resolution, config.resolution}),
                            wish.names);
}

}  // namespace

AttributeWish attribute_wish(const RunConfig& config) {
  if (config.model.condition != Condition::attributes) return {};
  return {AttributeWish::Use::told, config.data.attributes};
}

SpriteSplit sprite_split(const DataConfig& config) {
  SpriteSplit split{config.train_samples, config.test_samples};
  if (split.test == 0) {
    split.test = std::clamp<int64_t>(kSpriteCount - split.train, 1, kDefaultTestSprites);
  }
  if (split.train == 0) split.train = std::max<int64_t>(kSpriteCount - split.test, 1);
  if (split.train > kSpriteCount - split.test) {
    throw_error(ErrorCode::usage, "data.train_samples is ", split.train,
                " and data.test_samples is ", split.test, ", but there are only ", kSpriteCount,
                " sprites");
  }
  return split;
}

std::vector<uint8_t> sprite_labels(int64_t first, int64_t count) {
  std::vector<uint8_t> labels;
  for (int64_t item = first; item < first + count; ++item) {
    // The split's seed is 0, as in ImageData::sprites.
    labels.push_back(static_cast<uint8_t>(sprite_factors(sprite_of_item(0, item)).shape));
  }
  return labels;
}

ImageSet open_images(Fs& fs, const DataConfig& config, const AttributeWish& wish, Log& log) {
  if (config.path.empty()) {
    throw Error(ErrorCode::usage,
                "--data is missing: name a directory of images, such as MNIST's IDX files, or try "
                "--preset sprites, which needs no data");
  }
  check_changes(config);
  ImageSetOptions options;
  options.folder.height = config.image_size.height;
  options.folder.width = config.image_size.width;
  options.folder.channels = config.channels;
  options.folder.cache_directory = cache_directory(config);
  options.test_fraction = config.test_fraction;
  options.attributes = wish;
  ImageSet set = open_image_set(fs, config.path, options, log);
  if (config.leave_out >= 0) drop_label(set.train, static_cast<int>(config.leave_out));
  return set;
}

void check_asked_size(const ImageSet& set, const DataConfig& config) {
  const ImageSplit& train = set.train;
  const PixelSize& size = config.image_size;
  if (size.height > 0 && (size.height != train.height || size.width != train.width)) {
    throw_error(ErrorCode::usage, "data.image_size is ", size.height, "x", size.width,
                ", but the images of ", config.path, " (", set.format, ") are ", train.height, "x",
                train.width, "; only picture files are brought to another size");
  }
  if (config.channels > 0 && config.channels != train.channels) {
    throw_error(ErrorCode::usage, "data.channels is ", config.channels, ", but the images of ",
                config.path, " (", set.format, ") have ", train.channels,
                "; only picture files are brought to another number");
  }
}

DataConfig other_data(DataConfig config, const std::string& path,
                      const std::optional<ImageShape>& shape) {
  config.kind = DataKind::images;
  config.path = path;
  config.test_samples = 0;
  config.leave_out = -1;
  if (shape) {
    config.image_size = {shape->height, shape->width};
    config.channels = shape->channels;
  }
  return config;
}

RunData open_run_data(Context& context, Fs& fs, const DataConfig& config, const AttributeWish& wish,
                      Log& log) {
  // Member by member: when an element of a braced list throws, GCC 12 destroys those before it twice.
  RunData data;
  if (config.kind == DataKind::sprites) {
    const SpriteSplit split = sprite_split(config);
    data.train = drawn_sprites(config, wish, split.train, 0);
    data.test = drawn_sprites(config, wish, split.test, split.train);
    return data;
  }
  const ImageSet set = open_images(fs, config, wish, log);
  check_asked_size(set, config);
  // The test images first: there are fewer of them.
  const ImageSplit& train = set.train;
  const ImageChanges changes = checked_changes(config, {train.channels, train.height, train.width});
  DeviceBudget budget(context, config, log);
  data.test = budget.place(set.test, config.test_samples, test_changes(config, set.test), "test");
  data.train = budget.place(train, config.train_samples, changes, "training");
  return data;
}

namespace {

[[noreturn]] void refuse_untold(const DataConfig& data, bool train, Condition condition) {
  throw_error(ErrorCode::data, data.path, ": the ", train ? "training" : "test", " images have no ",
              condition == Condition::label ? "labels" : "attributes", ", which model.condition \"",
              condition_name(condition), "\" needs; elbo data says what a set has");
}

void settle_classes(ModelConfig& model, const RunData& data, const DataConfig& config) {
  const int64_t classes = data.train.classes();
  if (classes == 0 || data.test.classes() == 0) {
    refuse_untold(config, classes == 0, Condition::label);
  }
  const int64_t most = std::max(classes, data.test.classes());
  if (model.classes == 0) model.classes = most;
  if (most > model.classes) {
    throw_error(ErrorCode::data, config.path, ": found label ", most - 1, ", expected 0 to ",
                model.classes - 1, " as model.classes is ", model.classes);
  }
}

// The names become part of the configuration, so that tools can name them.
void settle_attributes(RunConfig& config, const RunData& data) {
  const std::vector<std::string>& names = data.train.attribute_names();
  if (names.empty() || data.test.attribute_names().empty()) {
    refuse_untold(config.data, names.empty(), Condition::attributes);
  }
  config.data.attributes = names;
  if (config.model.attributes == 0) config.model.attributes = std::ssize(names);
  if (config.model.attributes != std::ssize(names)) {
    throw_error(ErrorCode::usage, "model.attributes is ", config.model.attributes,
                ", and the images have ", names.size(),
                "; set it to 0, and data.attributes to the names of those that are wanted");
  }
}

}  // namespace

void settle_condition(RunConfig& config, const RunData& data) {
  if (config.model.condition == Condition::label) settle_classes(config.model, data, config.data);
  if (config.model.condition == Condition::attributes) settle_attributes(config, data);
}

void hide_labels(Context& context, RunConfig& config, RunData& data) {
  if (config.data.labelled == 0) return;
  if (config.model.condition != Condition::label) {
    throw_error(ErrorCode::usage, "data.labelled is ", config.data.labelled,
                ", and model.condition is \"", condition_name(config.model.condition),
                "\": the model is told no labels; add --condition "
                "label");
  }
  config.model.classifier = true;
  const int64_t images = data.train.count();
  const int64_t count = labelled_count(config.data.labelled, images);
  if (count == images) return;
  std::vector<uint8_t> labels;
  for (int64_t i = 0; i < images; ++i) labels.push_back(data.train.label_of(i));
  data.train.show_labels(context, choose_labelled(labels, count, config.train.seed));
}

ImageData open_test_data(Context& context, Fs& fs, const DataConfig& config,
                         const AttributeWish& wish, Log& log) {
  if (config.kind == DataKind::sprites) {
    const SpriteSplit split = sprite_split(config);
    return drawn_sprites(config, wish, split.test, split.train);
  }
  const ImageSet set = open_images(fs, config, wish, log);
  return DeviceBudget(context, config, log)
      .place(set.test, config.test_samples, test_changes(config, set.test), "test");
}

}  // namespace elbo
