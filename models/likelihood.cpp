#include "models/likelihood.h"

#include <algorithm>

#include "kernels/math.h"

namespace elbo {

Tensor likelihood_nll(Tape& tape, const ModelConfig& config, const Tensor& output,
                      const Tensor& target, const RowWeight& weight) {
  switch (config.likelihood) {
    case Likelihood::bernoulli:
      return bernoulli_nll(tape, output, target, weight);
    case Likelihood::gaussian:
      return gaussian_nll(tape, output, target, config.log_variance, weight);
  }
  throw Error("unknown likelihood");
}

void output_to_picture(const ModelConfig& config, int64_t count, float* output) {
  for (int64_t i = 0; i < count; ++i) {
    output[i] = config.likelihood == Likelihood::bernoulli ? math::sigmoid(output[i])
                                                           : std::clamp(output[i], 0.0f, 1.0f);
  }
}

}  // namespace elbo
