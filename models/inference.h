// Using a trained model on host arrays: what sampling, reconstruction and traversal are made of.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <utility>
#include <vector>

#include "engine/image_data.h"
#include "engine/tape.h"
#include "models/autoencoder.h"

namespace elbo {

// What a conditional model is told of rows: the label of each, or its attributes. Empty: nothing.
struct Conditions {
  std::vector<uint8_t> labels;    // [n]
  std::vector<float> attributes;  // [n, attributes], in the data's units

  Conditions() = default;
  Conditions(std::initializer_list<uint8_t> of_labels) : labels(of_labels) {}
  Conditions(std::vector<uint8_t> of_labels) : labels(std::move(of_labels)) {}
  static Conditions of_attributes(std::vector<float> rows);
  bool empty() const { return labels.empty() && attributes.empty(); }
};

// All arrays are row-major. Pictures are the mean of p(x | z), in [0, 1].
// Errors    ErrorCode::usage or data for labels or attributes that are missing or unknown;
// ErrorCode::numeric if the network's output is not finite, which would pass for black
class Inference {
 public:
  Inference(Context& context, const Autoencoder& model);

  struct Posterior {
    std::vector<float> mean;    // [n, latent]
    std::vector<float> logvar;  // [n, latent], bounded as training bounds it; empty: plain
  };

  using Labels = std::vector<uint8_t>;

  // Of all latents that are decoded from now on, and of images that come without. Throws
  // ErrorCode::usage if the model knows no such label.
  void set_label(uint8_t label);

  // The same of attributes, one entry for each that the model knows. Those that are left open are
  // the rows' own, or the mean of the training set where rows come without.
  using AttributeValues = std::vector<std::optional<float>>;
  void set_attributes(const AttributeValues& values);

  // Conditions are those that a conditional model wants, for every row; other models do not look at
  // them.
  Posterior encode(const std::vector<float>& images,  // [n, image_size] in [0, 1]
                   const Conditions& conditions = {});
  // With a codebook by the codes that are nearest to the latents: a decoder knows no others.
  std::vector<float> decode(const std::vector<float>& latents,  // [n, latent] -> [n, image_size]
                            const Conditions& conditions = {});

  // The likeliest labels by the model's classifier.
  Labels classify(const std::vector<float>& images);  // [n, image_size] -> [n]

  // Of images [first, first + n) of a data set; empty if the model is not conditional.
  Conditions conditions(const ImageData& data, int64_t first, int64_t n) const;

  // `rows` rows of attributes as decode() would be told them.
  std::vector<float> told_attributes(const Conditions& conditions, int64_t rows) const;

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
                                uint64_t kind, const Conditions& conditions, Body body);
  std::vector<int32_t> checked_labels(const Labels& labels, int64_t rows) const;
  std::vector<float> own_attributes(const Conditions& conditions, int64_t rows) const;
  DeviceBlock upload_conditions(const Conditions& conditions, int64_t rows, uint64_t kind) const;
  std::vector<float> told_rows_of(const Conditions& conditions, int64_t rows, uint64_t kind) const;
  void refuse_far_attributes(const Conditions& conditions, int64_t rows, uint64_t kind) const;
  Tensor told_rows(const DeviceBlock& told, int64_t first, int64_t batch) const;

  Context& context_;
  const Autoencoder& model_;
  Tape tape_;
  std::optional<uint8_t> label_;
  std::optional<AttributeValues> attributes_;
  std::vector<float> mean_attributes_;  // of the training set, once attributes are set
  std::optional<uint64_t> pixel_seed_;
};

// Share of a data set's images, as the model sees them, that its classifier gives their own label.
double classification_accuracy(Inference& inference, const ImageData& data, Binarise binarise,
                               uint64_t seed);

// 0, 1, ... and again from 0, `n` in all; empty if the model knows no labels.
Inference::Labels labels_in_turn(const Autoencoder& model, int64_t n);
// What a conditional model is told of `n` new pictures: labels in turn, or the attributes of a data
// set's images, one after the other.
Conditions conditions_in_turn(const Inference& inference, const ImageData& data, int64_t n);

}  // namespace elbo
