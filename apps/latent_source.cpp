#include "apps/latent_source.h"

#include <algorithm>

#include "apps/latent_files.h"
#include "engine/io/blob.h"
#include "engine/io/image_resize.h"

namespace elbo {
namespace {

constexpr uint64_t kLargestPicture = 1 << 28;  // bytes
constexpr int64_t kMostDraws = UINT32_MAX;     // draws of the prior that differ
constexpr uint8_t kHalf = 128;

// For its number parsing and its message.
int64_t parse_integer(const std::string& flag, const std::string& text, int64_t high) {
  Arguments one;
  one.add(flag, text);
  return one.integer(flag, 0, 0, high);
}

bool is_number(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
}

}  // namespace

LatentSource::LatentSource(TrainedRun& run, const std::string& data_path, uint64_t seed, Log& log)
    : run_(run), source_(run, data_path, log), seed_(seed), log_(log) {}

RunImages& LatentSource::test_images() {
  if (!images_) images_ = source_.open(Split::test);
  return *images_;
}

std::vector<float> LatentSource::of_index(const std::string& flag, const std::string& text) {
  const int64_t index = parse_integer(flag, text, test_images().count() - 1);
  image_ = pixels_of(run_, test_images(), index, 1);
  const Conditions own = run_.inference().conditions(test_images().data, index, 1);
  attributes_ = own.attributes;
  return run_.inference().encode(*image_, own).mean;
}

std::vector<float> LatentSource::of_picture(const std::string& path) {
  const ImageShape& shape = run_.image();
  const std::vector<std::byte> file = read_file(real_fs(), path, kLargestPicture);
  Raster raster;
  try {
    raster = decode_picture(file, shape.channels);
  } catch (const Error& error) {
    throw_error(error.code(), path, ": ", error.what());
  }
  const bool binary = run_.config().data.binarise != Binarise::none;
  std::vector<float> image;
  for (const uint8_t byte : fit_picture(raster, shape.height, shape.width)) {
    const float grey = static_cast<float>(byte) / 255.0f;
    image.push_back(!binary ? grey : byte >= kHalf ? 1.0f : 0.0f);
  }
  image_ = image;
  return run_.inference().encode(image).mean;
}

std::vector<float> LatentSource::of_file(const std::string& flag, const std::string& text) {
  const size_t end = text.rfind(".npy") + 4;
  const int64_t dim = run_.model().latent_dim();
  const std::vector<float> rows = read_latents(text.substr(0, end), dim);
  int64_t row = 0;
  if (end < text.size()) {
    row = parse_integer(flag, text.substr(end + 1), std::ssize(rows) / dim - 1);
  }
  const auto begin = rows.begin() + row * dim;
  return {begin, begin + dim};
}

std::vector<float> LatentSource::latent(const std::string& flag, const std::string& text) {
  image_.reset();
  attributes_.clear();
  if (is_number(text)) return of_index(flag, text);
  if (text == "mean") return run_.inference().prior_mean();
  if (text.starts_with("prior:")) {
    warn_without_prior(run_, log_);
    const int64_t draw = parse_integer(flag, text.substr(6), kMostDraws);
    return run_.inference().prior_latents(1, seed_, 1.0f, draw);
  }
  const size_t suffix = text.rfind(".npy");
  if (suffix != std::string::npos && (suffix + 4 == text.size() || text[suffix + 4] == ':')) {
    return of_file(flag, text);
  }
  if (is_picture_name(text)) return of_picture(text);
  throw_error(ErrorCode::usage, flag, ": found ", in_quotes(text),
              ", expected the index of a test image, a picture file, latents.npy, prior:N or mean");
}

Conditions LatentSource::conditions(int64_t rows) const {
  std::vector<float> all;
  for (int64_t row = 0; row < rows; ++row)
    all.insert(all.end(), attributes_.begin(), attributes_.end());
  return Conditions::of_attributes(std::move(all));
}

void warn_without_prior(const TrainedRun& run, Log& log) {
  if (run.model().variational()) return;
  if (run.model().quantised()) {
    return log.note(
        "codes are drawn one by one, as often as training used them: nothing says which go "
        "together, so pictures are no better than textures");
  }
  log.warning("a plain autoencoder has no prior: latents from N(0, I) may mean nothing to it");
}

}  // namespace elbo
