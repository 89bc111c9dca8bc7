#include "apps/run_images.h"

#include <algorithm>
#include <set>

#include "apps/run_data.h"
#include "engine/io/blob.h"

namespace elbo {
namespace {

constexpr int64_t kImagesAtATime = 1024;
constexpr const char* kShapes[] = {"square", "ellipse", "heart"};

int64_t smaller_limit(int64_t a, int64_t b) { return a == 0 || b == 0 ? a + b : std::min(a, b); }

}  // namespace

Split parse_split(const Arguments& arguments) {
  const std::string name = arguments.text("--split", "test");
  if (name == "train") return Split::train;
  if (name == "test") return Split::test;
  throw_error(ErrorCode::usage, "--split: found ", in_quotes(name), ", expected test or train");
}

std::vector<Flag> image_flags(const std::string& group) {
  return {{"--data", 0, Takes::one_value, "DIR", group, "other images to use (elbo data --help)",
           "the run's own"},
          {"--split", 0, Takes::one_value, "test|train", group, "which of its images", "test"}};
}

std::string RunImages::class_name(int label) const {
  const auto at = static_cast<size_t>(label);
  return at < class_names.size() ? class_names[at] : std::to_string(label);
}

void RunImages::need_labels(const std::string& what) const {
  if (!labels.empty()) return;
  throw_error(ErrorCode::data, source, ": the images have no labels, which ", what, " needs");
}

void RunImages::check_label(const std::string& flag, int64_t label) const {
  need_labels(flag);
  const std::set<int> known(labels.begin(), labels.end());
  if (label >= 0 && label < 256 && known.contains(static_cast<int>(label))) return;
  std::string names;
  for (const int one : known) names += (names.empty() ? "" : ", ") + std::to_string(one);
  throw_error(ErrorCode::usage, flag, ": found label ", label, ", expected one of ", names);
}

ImageSource::ImageSource(TrainedRun& run, const std::string& other_path, Log& log)
    : run_(run), config_(run.config().data), wish_(attribute_wish(run.config())), log_(log) {
  if (other_path.empty()) return;
  config_ = other_data(config_, other_path, run.image());
  config_.train_samples = 0;
}

RunImages ImageSource::open_sprites(Split split, int64_t most) const {
  const SpriteSplit sizes = sprite_split(config_);
  const int64_t first = split == Split::train ? 0 : sizes.train;
  const int64_t count = smaller_limit(split == Split::train ? sizes.train : sizes.test, most);
  RunImages images;
  images.source = "sprites";
  images.data = ImageData::sprites(config_.resolution, count, first, {}, wish_.names);
  images.class_names.assign(std::begin(kShapes), std::end(kShapes));
  images.labels = sprite_labels(first, count);
  return images;
}

RunImages ImageSource::open(Split split, int64_t most) {
  if (config_.kind == DataKind::sprites) return open_sprites(split, most);
  if (!set_) set_ = open_images(real_fs(), config_, wish_, log_);
  const bool train = split == Split::train;
  const ImageSplit& part = train ? set_->train : set_->test;
  check_image_shape({part.channels, part.height, part.width}, run_.image(), part.source);
  const int64_t limit = smaller_limit(train ? config_.train_samples : config_.test_samples, most);
  RunImages images;
  images.source = part.source;
  images.class_names = set_->class_names;
  images.data = ImageData::from_split(run_.context(), part, limit, {false, config_.dequantise});
  if (!part.labels.empty()) {
    images.labels.assign(part.labels.begin(), part.labels.begin() + images.count());
  }
  return images;
}

std::vector<float> pixels_of(TrainedRun& run, const RunImages& images, int64_t first,
                             int64_t count) {
  return run.inference().images(images.data, first, count, run.config().data.binarise,
                                run.config().train.seed);
}

Inference::Posterior encode_images(TrainedRun& run, const RunImages& images, int64_t first,
                                   int64_t count) {
  Inference::Posterior all;
  for (int64_t done = 0; done < count; done += kImagesAtATime) {
    const int64_t part = std::min(kImagesAtATime, count - done);
    const auto codes =
        run.inference().encode(pixels_of(run, images, first + done, part),
                               run.inference().conditions(images.data, first + done, part));
    all.mean.insert(all.mean.end(), codes.mean.begin(), codes.mean.end());
    all.logvar.insert(all.logvar.end(), codes.logvar.begin(), codes.logvar.end());
  }
  return all;
}

}  // namespace elbo
