// Where a latent comes from, as a flag says it:
//
//   17               code of test image 17 (its posterior mean)
//   face.png         code of a picture file, brought to the size of the model's images
//   codes.npy[:5]    row 5 (default 0) of latents in a file
//   prior:3          draw 3 of the prior
//   mean             the prior's mean: zeros, unless it is learned
//
// Errors    ErrorCode::usage for what is none of these, ErrorCode::data for files
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apps/run_images.h"

namespace elbo {

inline constexpr const char* kLatentSourceNote =
    "SOURCE is the index of a test image, a picture file, latents.npy (latents.npy:5\n"
    "for its row 5), prior:N (draw N of the prior) or mean (the prior's).\n";

inline constexpr uint64_t kPriorSeed = 42;  // prior:N is picture N of elbo sample without --seed

class LatentSource {
 public:
  LatentSource(TrainedRun& run, const std::string& data_path, uint64_t seed, Log& log);

  std::vector<float> latent(const std::string& flag, const std::string& text);  // [D]
  // The image behind it, if there is one: [H, W, C].
  const std::optional<std::vector<float>>& image() const { return image_; }

  // Attributes of the test image that the last latent is the code of, for so many rows to decode;
  // empty for any other latent, and for models that are told none.
  Conditions conditions(int64_t rows) const;

  RunImages& test_images();  // opened when they are first needed

 private:
  std::vector<float> of_index(const std::string& flag, const std::string& text);
  std::vector<float> of_picture(const std::string& path);
  std::vector<float> of_file(const std::string& flag, const std::string& text);

  TrainedRun& run_;
  ImageSource source_;
  uint64_t seed_;
  Log& log_;
  std::optional<RunImages> images_;
  std::optional<std::vector<float>> image_;
  std::vector<float> attributes_;  // of one image
};

// Latents from N(0, I) may mean nothing to a plain autoencoder: a warning for it.
void warn_without_prior(const TrainedRun& run, Log& log);

}  // namespace elbo
