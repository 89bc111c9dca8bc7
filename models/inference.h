// Using a trained model on host arrays: what sampling, reconstruction and traversal are made of.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/image_data.h"
#include "engine/tape.h"
#include "models/autoencoder.h"

namespace elbo {

// All arrays are row-major. Pictures are the mean of p(x | z), in [0, 1].
// Errors    ErrorCode::usage or data for labels that are missing or unknown; ErrorCode::numeric if
// the network's output is not finite, which would pass for black
class Inference {
 public:
  Inference(Context& context, const Autoencoder& model);

  struct Posterior {
    std::vector<float> mean;    // [n, latent]
    std::vector<float> logvar;  // [n, latent], bounded as training bounds it; empty: plain
  };

  // Labels are those that a conditional model wants, one per row; other models do not look at them.
  using Labels = std::vector<uint8_t>;

  // Of all latents that are decoded from now on, and of images that come without. Throws
  // ErrorCode::usage if the model knows no such label.
  void set_label(uint8_t label);

  Posterior encode(const std::vector<float>& images,  // [n, image_size] in [0, 1]
                   const Labels& labels = {});
  // With a codebook by the codes that are nearest to the latents: a decoder knows no others.
  std::vector<float> decode(const std::vector<float>& latents,  // [n, latent] -> [n, image_size]
                            const Labels& labels = {});

  // The likeliest labels by the model's classifier.
  Labels classify(const std::vector<float>& images);  // [n, image_size] -> [n]

  // Of images [first, first + n) of a data set; empty if the model is not conditional.
  Labels labels(const ImageData& data, int64_t first, int64_t n) const;

  const Autoencoder& model() const { return model_; }

  // From now on decode() draws from p(x | z), cut to [0, 1], in place of its mean.
  void draw_pixels(uint64_t seed) { pixel_seed_ = seed; }

  // Latents from the prior: draw number `first + i` of `seed`, whatever n is. Deviations from the mean,
  // of a VampPrior from its component's, are multiplied by `temperature`. With a
  // codebook codes as CodebookTable::draw() gives them.
  std::vector<float> prior_latents(int64_t n, uint64_t seed, float temperature = 1.0f,
                                   int64_t first = 0);
  std::vector<float> prior_mean();  // [latent]
  // Of a VampPrior: its components.
  Posterior prior_components();

  // Images [first, first + n) of a data set as a likelihood compares with them, never corrupted.
  std::vector<float> images(const ImageData& data, int64_t first, int64_t n, Binarise binarise,
                            uint64_t seed);
  // The same images as the model is to see them: what the set's corruptions make of them.
  std::vector<float> inputs(const ImageData& data, int64_t first, int64_t n, Binarise binarise,
                            uint64_t seed);

 private:
  Posterior as_posterior(const std::vector<float>& encoded) const;
  std::vector<float> gathered(const ImageData& data, int64_t first, int64_t n, Binarise binarise,
                              uint64_t seed, Tensor ImageBatch::*which);
  template <class Body>
  std::vector<float> in_batches(const std::vector<float>& input, int64_t in_size, int64_t out_size,
                                uint64_t kind, const Labels& labels, Body body);
  std::vector<int32_t> checked_labels(const Labels& labels, int64_t rows) const;

  Context& context_;
  const Autoencoder& model_;
  Tape tape_;
  std::optional<uint8_t> label_;
  std::optional<uint64_t> pixel_seed_;
};

// Share of a data set's images, as the model sees them, that its classifier gives their own label.
double classification_accuracy(Inference& inference, const ImageData& data, Binarise binarise,
                               uint64_t seed);

// 0, 1, ... and again from 0, `n` in all; empty if the model is not conditional.
Inference::Labels labels_in_turn(const Autoencoder& model, int64_t n);

}  // namespace elbo
