// The decoder's distribution p(x | z): what its last layer's output means, with what it learns
// besides.
//
//   bernoulli, continuous_bernoulli   output = logits
//   gaussian, laplace                 output = mean or median; variance or scale fixed by the
//                                     configuration
//   gaussian_learned                  output = mean; parameter "log_variance" [1]
//   gaussian_optimal                  output = mean; buffer "running_variance" [1], of evaluation
//   gaussian_diagonal, logistic, beta output = two pictures as the channels of one
//                                     (kernels/likelihood.h)
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/ops/likelihood_op.h"
#include "models/config.h"
#include "models/network_plan.h"

namespace elbo {

// "bernoulli", "continuous-bernoulli", "gaussian", "gaussian-learned", ...
const char* likelihood_name(Likelihood likelihood);
inline constexpr Likelihood kLikelihoods[] = {Likelihood::bernoulli,
                                              Likelihood::continuous_bernoulli,
                                              Likelihood::gaussian,
                                              Likelihood::gaussian_learned,
                                              Likelihood::gaussian_optimal,
                                              Likelihood::gaussian_diagonal,
                                              Likelihood::laplace,
                                              Likelihood::logistic,
                                              Likelihood::beta};

class PixelLikelihood {
 public:
  // Registers what the likelihood learns, if anything.
  PixelLikelihood(ParamStore& params, const ModelConfig& config, const ImageSize& image);

  // The picture that the decoder ends with: the image with one or two outputs per value.
  const ImageSize& output() const { return output_; }
  // Of the Gaussians of one variance, as it is now; waits for the device.
  float log_variance() const;
  bool has_fused_layer() const { return elbo::has_fused_layer(config_.likelihood); }

  // Nats per image, [B]; see engine/ops/likelihood_op.h for `weight`. Training is where a weight is
  // given and the tape records.
  Tensor nll(Tape& tape, const Tensor& output, const Tensor& target, const RowWeight& weight) const;

 private:
  ParamStore* params_;
  ModelConfig config_;
  ImageSize image_, output_;
  ParamStore::Id log_variance_ = -1;
  BufferStore::Id running_variance_ = -1;
};

// What a person looks at: the mean of p(x | z), of the logistic its location, between 0 and 1.
// `output` is rows of a decoder's output in host memory, the result rows of images.
std::vector<float> output_to_pictures(const ModelConfig& config, const ImageSize& image,
                                      std::vector<float> output);

// What -log p measures, and so where bits per dimension exist.
enum class LikelihoodMeasure {
  binary,   // a probability of black and white pixels
  density,  // of real values: bits of dequantised bytes
  bytes     // a probability of grey levels
};
LikelihoodMeasure likelihood_measure(Likelihood likelihood);

// Bits per dimension of a bound of so many nats per image, where the data as they are trained on
// are discrete: nats / (dims log 2), of a density and dequantised bytes 8 more. Files of black and
// white pixels are not known here to be such; `elbo evaluate` looks.
std::optional<double> bits_per_dim(Likelihood likelihood, const DataConfig& data, double nats,
                                   int64_t dims);

}  // namespace elbo
