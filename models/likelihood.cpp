#include "models/likelihood.h"

#include <algorithm>
#include <numbers>

#include "kernels/pixel_formulas.h"

namespace elbo {
namespace {

// The mean of one value, by its outputs; `second` of one output is the first again.
float mean_of(Likelihood likelihood, float first, float second) {
  switch (likelihood) {
    case Likelihood::bernoulli:
      return math::sigmoid(first);
    case Likelihood::continuous_bernoulli:
      return formulas::continuous_bernoulli_mean(first);
    case Likelihood::beta:
      return formulas::beta_mean(formulas::beta_parameter(first), formulas::beta_parameter(second));
    case Likelihood::gaussian:
    case Likelihood::gaussian_learned:
    case Likelihood::gaussian_optimal:
    case Likelihood::laplace:
    case Likelihood::gaussian_diagonal:
    case Likelihood::logistic:
      return first;
  }
  throw Error("unknown likelihood");
}

}  // namespace

const char* likelihood_name(Likelihood likelihood) {
  switch (likelihood) {
    case Likelihood::bernoulli:
      return "bernoulli";
    case Likelihood::continuous_bernoulli:
      return "continuous-bernoulli";
    case Likelihood::gaussian:
      return "gaussian";
    case Likelihood::gaussian_learned:
      return "gaussian-learned";
    case Likelihood::gaussian_optimal:
      return "gaussian-optimal";
    case Likelihood::gaussian_diagonal:
      return "gaussian-diagonal";
    case Likelihood::laplace:
      return "laplace";
    case Likelihood::logistic:
      return "logistic";
    case Likelihood::beta:
      return "beta";
  }
  throw Error("unknown likelihood");
}

PixelLikelihood::PixelLikelihood(ParamStore& params, const ModelConfig& config,
                                 const ImageSize& image)
    : params_(&params), config_(config), image_(image), output_(image) {
  output_.channels *= outputs_per_value(config.likelihood);
  if (config.likelihood == Likelihood::gaussian_learned) {
    log_variance_ = params.add("log_variance", {1}, {InitKind::constant, config.log_variance});
  } else if (config.likelihood == Likelihood::gaussian_optimal) {
    const float log_variance = formulas::bounded_logvar(config.log_variance);
    running_variance_ =
        params.buffers().add("running_variance", {1}, static_cast<double>(math::exp(log_variance)));
  }
}

float PixelLikelihood::log_variance() const {
  float value = config_.log_variance;
  if (log_variance_ >= 0) {
    params_->context().download(&value, params_->param(log_variance_).value.data, sizeof value);
  } else if (running_variance_ >= 0) {
    params_->context().download(&value, params_->buffers().value(running_variance_).data,
                                sizeof value);
    value = formulas::bounded_logvar_inverse(math::log(value));
  }
  return formulas::bounded_logvar(value);
}

Tensor PixelLikelihood::nll(Tape& tape, const Tensor& output, const Tensor& target,
                            const RowWeight& weight) const {
  const bool training = tape.recording() && weight.given();
  switch (config_.likelihood) {
    case Likelihood::bernoulli:
      return bernoulli_nll(tape, output, target, weight);
    case Likelihood::gaussian:
      return gaussian_nll(tape, output, target, config_.log_variance, weight);
    case Likelihood::continuous_bernoulli:
      return continuous_bernoulli_nll(tape, output, target, weight);
    case Likelihood::gaussian_learned:
      return gaussian_learned_nll(tape, *params_, output, target, log_variance_, weight);
    case Likelihood::gaussian_optimal:
      return gaussian_optimal_nll(tape, *params_, output, target, running_variance_, training,
                                  weight);
    case Likelihood::laplace:
      return laplace_nll(tape, output, target, config_.log_scale, weight);
    case Likelihood::gaussian_diagonal:
      return gaussian_diagonal_nll(tape, output, target, image_.channels, weight);
    case Likelihood::logistic:
      return logistic_nll(tape, output, target, image_.channels, weight);
    case Likelihood::beta:
      return beta_nll(tape, output, target, image_.channels, weight);
  }
  throw Error("unknown likelihood");
}

std::vector<float> output_to_pictures(const ModelConfig& config, const ImageSize& image,
                                      std::vector<float> output) {
  const int64_t outputs = outputs_per_value(config.likelihood), channels = image.channels;
  const int64_t count = static_cast<int64_t>(output.size()) / outputs;
  // In place, a pixel at a time: its outputs lie at or behind where its values go.
  std::vector<float> pixel(static_cast<size_t>(outputs * channels));
  for (int64_t at = 0; at < count; at += channels) {
    std::copy_n(output.begin() + at * outputs, pixel.size(), pixel.begin());
    for (int64_t c = 0; c < channels; ++c) {
      const float mean = mean_of(config.likelihood, pixel[c], pixel[c + (outputs - 1) * channels]);
      output[at + c] = std::clamp(mean, 0.0f, 1.0f);
    }
  }
  output.resize(static_cast<size_t>(count));
  return output;
}

LikelihoodMeasure likelihood_measure(Likelihood likelihood) {
  switch (likelihood) {
    case Likelihood::bernoulli:
      return LikelihoodMeasure::binary;
    case Likelihood::logistic:
      return LikelihoodMeasure::bytes;
    default:
      return LikelihoodMeasure::density;
  }
}

std::optional<double> bits_per_dim(Likelihood likelihood, const DataConfig& data, double nats,
                                   int64_t dims) {
  const double bits = nats / (std::numbers::ln2 * static_cast<double>(dims));
  const bool binary = data.kind == DataKind::sprites || data.binarise != Binarise::none;
  switch (likelihood_measure(likelihood)) {
    case LikelihoodMeasure::binary:
      return binary ? std::optional(bits) : std::nullopt;
    case LikelihoodMeasure::bytes:
      return data.dequantise ? std::nullopt : std::optional(bits);
    case LikelihoodMeasure::density:
      return data.dequantise ? std::optional(bits + 8) : std::nullopt;  // of a byte's 256 values
  }
  throw Error("unknown likelihood");
}

}  // namespace elbo
