// Using a trained model on host arrays: what sampling, reconstruction and traversal are made of.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/image_data.h"
#include "engine/tape.h"
#include "models/autoencoder.h"

namespace elbo {

// All arrays are row-major. Pictures are the mean of p(x | z), in [0, 1].
// Errors    ErrorCode::numeric if the network's output is not finite, which would pass for black
class Inference {
 public:
  Inference(Context& context, const Autoencoder& model);

  struct Posterior {
    std::vector<float> mean;    // [n, latent]
    std::vector<float> logvar;  // [n, latent]; empty for a plain autoencoder
  };

  Posterior encode(const std::vector<float>& images);            // [n, image_size] in [0, 1]
  std::vector<float> decode(const std::vector<float>& latents);  // [n, latent] -> [n, image_size]

  // N(0, temperature^2) latents: draw number `first + i` of `seed`, whatever n is.
  std::vector<float> prior_latents(int64_t n, uint64_t seed, float temperature = 1.0f,
                                   int64_t first = 0) const;

  // Images [first, first + n) of a data set as a likelihood compares with them, never corrupted.
  std::vector<float> images(const ImageData& data, int64_t first, int64_t n, Binarise binarise,
                            uint64_t seed);
  // The same images as the model is to see them: what the set's corruptions make of them.
  std::vector<float> inputs(const ImageData& data, int64_t first, int64_t n, Binarise binarise,
                            uint64_t seed);

 private:
  std::vector<float> gathered(const ImageData& data, int64_t first, int64_t n, Binarise binarise,
                              uint64_t seed, Tensor ImageBatch::*which);
  template <class Body>
  std::vector<float> in_batches(const std::vector<float>& input, int64_t in_size, int64_t out_size,
                                uint64_t kind, Body body);

  Context& context_;
  const Autoencoder& model_;
  Tape tape_;
};

}  // namespace elbo
