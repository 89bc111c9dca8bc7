#include "apps/run_data.h"

#include <algorithm>

#include "engine/io/idx.h"
#include "kernels/sprites.h"

namespace elbo {
namespace {

// Of the sprites, when nobody says how many are to be held out.
constexpr int64_t kDefaultTestSprites = 10000;

ImageSet load_images(Fs& fs, const DataConfig& config) {
  if (config.path.empty()) {
    throw Error(ErrorCode::usage,
                "--data is missing: name a directory of IDX files, such as MNIST's, or try "
                "--preset sprites, which needs no data");
  }
  return load_idx_set(fs, config.path);
}

}  // namespace

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

RunData open_run_data(Context& context, Fs& fs, const DataConfig& config) {
  // Member by member: when an element of a braced list throws, GCC 12 destroys those before it twice.
  RunData data;
  if (config.kind == DataKind::sprites) {
    const SpriteSplit split = sprite_split(config);
    data.train = ImageData::sprites(config.resolution, split.train, 0);
    data.test = ImageData::sprites(config.resolution, split.test, split.train);
    return data;
  }
  const ImageSet set = load_images(fs, config);
  data.train = ImageData::from_split(context, set.train, config.train_samples);
  data.test = ImageData::from_split(context, set.test, config.test_samples);
  return data;
}

ImageData open_test_data(Context& context, Fs& fs, const DataConfig& config) {
  if (config.kind == DataKind::sprites) {
    const SpriteSplit split = sprite_split(config);
    return ImageData::sprites(config.resolution, split.test, split.train);
  }
  const ImageSet set = load_images(fs, config);
  return ImageData::from_split(context, set.test, config.test_samples);
}

}  // namespace elbo
