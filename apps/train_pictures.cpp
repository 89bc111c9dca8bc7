#include "apps/train_pictures.h"

#include <fmt/format.h>

#include <algorithm>

namespace elbo {
namespace {

constexpr GridSize kSamples{64, 8};
constexpr GridSize kReconstructions{32, 16};  // each with its input, if another, and result below
constexpr int64_t kMostPixels = int64_t{1} << 24;  // of all pictures together
constexpr int64_t kWidestRow = 8192;               // pixels

}  // namespace

GridSize bounded_grid(const ImageShape& shape, int64_t count, int64_t columns) {
  const int64_t width = shape.width * grid_scale(shape), height = shape.height * grid_scale(shape);
  const int64_t most = std::max<int64_t>(kMostPixels / (width * height), 1);
  const int64_t widest = std::max<int64_t>(kWidestRow / width, 1);
  return {std::min(count, most), std::min(columns, widest)};
}

TrainPictures::TrainPictures(Fs& fs, const RunDir& directory, Inference& inference,
                             const RunConfig& config, const ImageData& test)
    : fs_(fs), directory_(directory), inference_(inference), config_(config), test_(test) {}

std::string TrainPictures::why_not(const ImageShape& shape) {
  if (can_be_shown(shape)) return "";
  return fmt::format("images of {} channels cannot be shown: no pictures are written",
                     shape.channels);
}

void TrainPictures::write(int64_t epoch) {
  const std::string name = fmt::format("epoch_{:04d}.png", epoch);
  const ImageShape& shape = test_.shape();
  const uint64_t seed = config_.train.seed;
  GridStyle style;
  const GridSize samples = bounded_grid(shape, kSamples.count, kSamples.columns);
  style.columns = samples.columns;
  const std::vector<float> drawn =
      inference_.decode(inference_.prior_latents(samples.count, seed),
                        conditions_in_turn(inference_, test_, samples.count));
  write_png(fs_, join_path(directory_.samples(), name), image_grid(drawn, shape, style));

  const GridSize pairs = bounded_grid(shape, kReconstructions.count, kReconstructions.columns);
  style.columns = pairs.columns;
  const std::vector<float> originals = inference_.images(
      test_, 0, std::min(pairs.count, test_.count()), config_.data.binarise, seed);
  std::vector<std::vector<float>> rows = {originals};
  if (!test_.corruptions().empty()) {
    rows.push_back(inference_.inputs(test_, 0, std::min(pairs.count, test_.count()),
                                     config_.data.binarise, seed));
  }
  const Conditions own = inference_.conditions(test_, 0, std::min(pairs.count, test_.count()));
  rows.push_back(inference_.decode(inference_.encode(rows.back(), own).mean, own));
  write_png(fs_, join_path(directory_.reconstructions(), name), rows_grid(rows, shape, style));
}

}  // namespace elbo
