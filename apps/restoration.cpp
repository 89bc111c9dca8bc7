#include "apps/restoration.h"

#include <fmt/format.h>

#include <algorithm>

#include "apps/run_data.h"
#include "kernels/sprites.h"

namespace elbo {
namespace {

constexpr int64_t kChunk = 500;  // images at a time: bounds memory, does not change results

// Pixels that the chain clears are the zeros that it leaves of white images.
bool only_masks(const std::vector<Corruption>& chain) {
  return !chain.empty() && std::all_of(chain.begin(), chain.end(), [](const Corruption& link) {
    return link.kind == CorruptionKind::mask || link.kind == CorruptionKind::square;
  });
}

// What the chain makes of white images. On the CPU: noise has the same bits there as anywhere.
std::vector<float> corrupted_white(TrainedRun& run, const ImageData& data, int64_t first,
                                   int64_t count) {
  const ImageSize size = run.image().as_size();
  std::vector<float> white(static_cast<size_t>(count * size.size()), 1.0f);
  std::vector<int32_t> sample;
  const DataConfig& config = run.config().data;
  const int64_t offset = data.is_sprites() ? sprite_split(config).train : 0;
  for (int64_t i = first; i < first + count; ++i) {
    sample.push_back(static_cast<int32_t>(data.is_sprites() ? sprite_of_item(0, offset + i) : i));
  }
  uint32_t number = 0;
  for (const Corruption& link : data.corruptions()) {
    Corrupt args{};
    args.link = link;
    args.number = number++;
    args.seed = run.config().train.seed;
    args.sample = sample.data();
    args.batch = count;
    args.image = size;
    args.x = args.y = white.data();
    corrupt(Exec{}, args);
  }
  return white;
}

std::vector<double> mean_of_images(TrainedRun& run, const ImageData& data) {
  const int64_t size = data.shape().size();
  std::vector<double> mean(static_cast<size_t>(size), 0.0);
  for (int64_t first = 0; first < data.count(); first += kChunk) {
    const int64_t count = std::min(kChunk, data.count() - first);
    const std::vector<float> images = run.inference().images(
        data, first, count, run.config().data.binarise, run.config().train.seed);
    for (size_t i = 0; i < images.size(); ++i) mean[i % mean.size()] += images[i];
  }
  for (double& value : mean) value /= static_cast<double>(data.count());
  return mean;
}

std::string line(const std::string& name, const RestorationFigures& figures, bool corrupted) {
  std::string text = fmt::format("{:<10}", name);
  if (corrupted) text += fmt::format("{:>9.2f}{:>8.4f}", figures.input.psnr_db, figures.input.ssim);
  return text + fmt::format("{:>9.2f}{:>8.4f}\n", figures.output.psnr_db, figures.output.ssim);
}

}  // namespace

RestoredImages restore_images(TrainedRun& run, const ImageData& data, int64_t first,
                              int64_t count) {
  const RunConfig& config = run.config();
  Inference& inference = run.inference();
  RestoredImages images;
  images.clean = inference.images(data, first, count, config.data.binarise, config.train.seed);
  images.input = inference.inputs(data, first, count, config.data.binarise, config.train.seed);
  const Conditions own = inference.conditions(data, first, count);
  images.output = inference.decode(inference.encode(images.input, own).mean, own);
  return images;
}

Restoration::Restoration(TrainedRun& run, const ImageData& data, int64_t first, int64_t count)
    : first_(first), corrupted_(!data.corruptions().empty()) {
  const bool masks = only_masks(data.corruptions());
  std::vector<double> mean_image;
  if (masks) {
    mean_image = mean_of_images(run, data);
    masked_.emplace();
  }
  for (int64_t done = 0; done < count; done += kChunk) {
    const int64_t chunk = std::min(kChunk, count - done);
    const RestoredImages images = restore_images(run, data, first + done, chunk);
    measure(images, chunk, run.image().as_size());
    if (masks) measure_masked(images, corrupted_white(run, data, first + done, chunk), mean_image);
  }
}

void Restoration::measure(const RestoredImages& images, int64_t count, const ImageSize& size) {
  const auto values = static_cast<size_t>(size.size());
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
    const auto one = [&](const std::vector<float>& all) {
      return std::span(all).subspan(i * values, values);
    };
    RestorationFigures figures;
    if (corrupted_) figures.input = image_quality(one(images.clean), one(images.input), size);
    figures.output = image_quality(one(images.clean), one(images.output), size);
    each_.push_back(figures);
  }
}

void Restoration::measure_masked(const RestoredImages& images, const std::vector<float>& white,
                                 const std::vector<double>& mean_image) {
  for (size_t i = 0; i < white.size(); ++i) {
    if (white[i] != 0.0f) continue;
    const double clean = images.clean[i];
    const double error = images.output[i] - clean, off = mean_image[i % mean_image.size()] - clean;
    masked_->output += error * error;
    masked_->mean_image += off * off;
    ++masked_->values;
  }
}

std::string Restoration::table(int64_t most) const {
  std::string text = corrupted_ ? "           corrupted         restored\n" : "";
  text += "image     " + std::string(corrupted_ ? "  PSNR dB    SSIM" : "") + "  PSNR dB    SSIM\n";
  RestorationFigures all;
  for (size_t i = 0; i < each_.size(); ++i) {
    const RestorationFigures& one = each_[i];
    if (static_cast<int64_t>(i) < most)
      text += line(std::to_string(first_ + static_cast<int64_t>(i)), one, corrupted_);
    const auto n = static_cast<double>(each_.size());
    all.input.mse += one.input.mse / n;
    all.input.ssim += one.input.ssim / n;
    all.output.mse += one.output.mse / n;
    all.output.ssim += one.output.ssim / n;
  }
  all.input.psnr_db = psnr_db(all.input.mse);
  all.output.psnr_db = psnr_db(all.output.mse);
  text += line(fmt::format("all {}", each_.size()), all, corrupted_);
  if (masked_ && masked_->values > 0) {
    const auto n = static_cast<double>(masked_->values);
    text +=
        fmt::format("within the mask: {:.2f} dB; filled with the mean of the test images {:.2f}\n",
                    psnr_db(masked_->output / n), psnr_db(masked_->mean_image / n));
  }
  return text;
}

}  // namespace elbo
