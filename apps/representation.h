// What a model's codes are worth: what they know about labels, how well they restore images compared
// with principal components of the same number, and how the aggregate posterior lies in the prior.
#pragma once

#include <optional>
#include <string>

#include "apps/run_images.h"

namespace elbo {

inline constexpr int64_t kProbeNeighbours = 5;

struct RepresentationReport {
  int64_t train_images = 0, test_images = 0, latent_dim = 0;
  std::optional<double> linear_probe, nearest_neighbours;  // accuracies; empty without labels
  double mse = 0, pca_mse = 0;                             // per pixel, on test images
  double largest_mean = 0;                                 // of a latent, without its sign
  double least_variance = 0, largest_variance = 0, largest_correlation = 0;
  std::optional<double> aggregate_kl_nats;  // KL(N(moments) || N(0, I)); empty without a prior
};

// At most `most` images of each split.
RepresentationReport representation(TrainedRun& run, const std::string& data_path, int64_t most,
                                    Log& log);

std::string representation_table(const RepresentationReport& report);
std::string representation_json(const RepresentationReport& report);  // one object

}  // namespace elbo
