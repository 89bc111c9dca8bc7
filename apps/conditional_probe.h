// Whether what a conditional model draws is what it was told to draw: pictures of every label, told
// apart by a probe that has seen real images only.
//
//   probe     the label that most of the 5 nearest training images have (Euclidean, grey pixels in
//             [0, 1])
//   pictures  means of p(x | z, y) with z from the prior, other draws for each label
//
// Errors    ErrorCode::usage for a model without labels, ErrorCode::data for images without
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apps/run_images.h"

namespace elbo {

struct ConditionalProbeReport {
  int64_t train_images = 0, test_images = 0, per_label = 0;  // per_label: pictures drawn
  double test_accuracy = 0;        // of the probe itself, on real test images
  double accuracy = 0;             // of all pictures: shares that are told as drawn
  std::vector<double> by_label;    // the same for each label
  std::vector<std::string> names;  // of the labels
};

// `seed` is that of the latents.
ConditionalProbeReport conditional_probe(TrainedRun& run, const std::string& data_path,
                                         int64_t per_label, uint64_t seed, Log& log);

std::string conditional_probe_table(const ConditionalProbeReport& report);
std::string conditional_probe_json(const ConditionalProbeReport& report);  // one object

}  // namespace elbo
