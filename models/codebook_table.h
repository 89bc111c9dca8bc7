// A model's codebook in host memory: what tools do with codes.
//
// Shapes    latents [n, codes per image * D], codes [n, codes per image], both row-major
// Errors    elbo::Error for a model without a codebook
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/autoencoder.h"

namespace elbo {

class CodebookTable {
 public:
  // As it is now; waits for the device.
  explicit CodebookTable(const Autoencoder& model);

  int64_t size() const { return size_; }
  int64_t codes_per_image() const { return codes_per_image_; }

  // Of latents that are made of codes, or nearly so; and back. Codes must be in [0, size).
  std::vector<int32_t> codes_of(std::span<const float> latents) const;
  std::vector<float> latents_of(std::span<const int32_t> codes) const;

  // Every code on its own by how often codes were used in training, to the power of 1/temperature:
  // at 0 the one that is used most. Draw number `first + i` of `seed`, whatever n is.
  std::vector<int32_t> draw(int64_t n, uint64_t seed, float temperature, int64_t first) const;

  // What codes take up, in bits per image: as numbers below size(), and as an entropy coder that
  // knows how often each was used in training would write them.
  double plain_bits() const;
  double entropy_coded_bits(std::span<const int32_t> codes) const;

 private:
  int64_t size_, dim_, codes_per_image_;
  std::vector<float> codes_;     // [D, K]
  std::vector<double> weights_;  // [K]: use in training, sum 1
};

}  // namespace elbo
