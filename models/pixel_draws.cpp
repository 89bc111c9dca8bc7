#include "models/pixel_draws.h"

#include <algorithm>
#include <cmath>

#include "kernels/error.h"
#include "kernels/noise.h"
#include "kernels/pixel_formulas.h"

namespace elbo {
namespace {

// The noise of one value: as many numbers as it asks for.
class ValueNoise {
 public:
  ValueNoise(uint64_t seed, int64_t row, int64_t value)
      : key_{seed}, dimension_(static_cast<uint64_t>(value)) {
    at_.purpose = NoisePurpose::pixels;
    at_.sample = static_cast<uint32_t>(row);
  }

  // In (0, 1): half a step away from 0, so that it has a logarithm.
  double uniform() { return uniform1(key_, next(), dimension_) + 0x1p-25; }
  double normal() { return normal1(key_, next(), dimension_); }

 private:
  NoiseAddress next() {
    const NoiseAddress at = at_;
    ++at_.draw;
    return at;
  }

  NoiseKey key_;
  NoiseAddress at_;
  uint64_t dimension_;
};

// By its distribution function of the distance from the peak, a truncated exponential's.
double continuous_bernoulli(double logit, ValueNoise& noise) {
  const double rate = std::abs(logit), u = noise.uniform();
  const double from_peak = rate < 1e-6 ? u : -std::log1p(u * std::expm1(-rate)) / rate;
  return logit > 0 ? 1 - from_peak : from_peak;
}

double laplace(double median, double scale, ValueNoise& noise) {
  const double u = noise.uniform() - 0.5;
  return median + std::copysign(-scale * std::log1p(-2 * std::abs(u)), u);
}

// The grey level in whose bin a logistic value falls; the bins at the edges are open.
double logistic(double location, double scale, ValueNoise& noise) {
  const double u = noise.uniform();
  const double x = location + scale * (std::log(u) - std::log1p(-u));
  return std::clamp(std::round(255 * x), 0.0, 255.0) / 255;
}

// The logarithm, as a gamma variable of a small shape is often below the smallest number.
double log_gamma_draw(double shape, ValueNoise& noise) {
  if (shape < 1) return log_gamma_draw(shape + 1, noise) + std::log(noise.uniform()) / shape;
  const double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  while (true) {
    const double x = noise.normal(), u = noise.uniform(), root = 1 + c * x;
    if (root <= 0) continue;
    const double v = root * root * root;
    if (std::log(u) < 0.5 * x * x + d * (1 - v + std::log(v))) return std::log(d * v);
  }
}

double beta(double a, double b, ValueNoise& noise) {
  const double first = log_gamma_draw(a, noise), second = log_gamma_draw(b, noise);
  const double t = 1 / (1 + std::exp(second - first));
  return (256 * t - 0.5) / 255;
}

double draw_value(const ModelConfig& config, double log_variance, double first, double second,
                  ValueNoise& noise) {
  switch (config.likelihood) {
    case Likelihood::bernoulli:
      return noise.uniform() < math::sigmoid(first) ? 1 : 0;
    case Likelihood::continuous_bernoulli:
      return continuous_bernoulli(first, noise);
    case Likelihood::gaussian:
    case Likelihood::gaussian_learned:
    case Likelihood::gaussian_optimal:
      return first + std::exp(0.5 * log_variance) * noise.normal();
    case Likelihood::gaussian_diagonal:
      return first + std::exp(0.5 * formulas::bounded_logvar(second)) * noise.normal();
    case Likelihood::laplace:
      return laplace(first, std::exp(static_cast<double>(config.log_scale)), noise);
    case Likelihood::logistic:
      return logistic(first, std::exp(formulas::bounded_log_scale(second)), noise);
    case Likelihood::beta:
      return beta(formulas::beta_parameter(first), formulas::beta_parameter(second), noise);
  }
  throw Error("unknown likelihood");
}

}  // namespace

std::vector<float> draw_pixels(const ModelConfig& config, int64_t channels, double log_variance,
                               const std::vector<float>& output, int64_t image_size,
                               uint64_t seed) {
  const int64_t outputs = outputs_per_value(config.likelihood);
  const int64_t rows = static_cast<int64_t>(output.size()) / (outputs * image_size);
  std::vector<float> pictures(static_cast<size_t>(rows * image_size));
  for (int64_t row = 0; row < rows; ++row) {
    const float* values = output.data() + row * outputs * image_size;
    for (int64_t d = 0; d < image_size; ++d) {
      const float* at = values + (outputs == 1 ? d : d + d / channels * channels);
      ValueNoise noise(seed, row, d);
      pictures[row * image_size + d] = static_cast<float>(
          draw_value(config, log_variance, at[0], outputs == 1 ? 0 : at[channels], noise));
    }
  }
  return pictures;
}

}  // namespace elbo
