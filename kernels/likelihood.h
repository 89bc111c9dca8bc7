// The distributions p(x | z) of a picture's values, by what a decoder's output means for each.
//
//   one output per value
//     bernoulli             logit; of black and white pixels (of grey ones: a cross-entropy, no
//                           density)
//     continuous_bernoulli  logit; a density on [0, 1]
//     gaussian              mean; variance exp(log_variance), fixed
//     gaussian_learned      mean; one variance, a parameter of the model
//     gaussian_optimal      mean; one variance, the mean squared error of the batch
//     laplace               median; scale exp(log_scale), fixed
//   two per value: a pixel of C values has 2C outputs, [first of each | second of each]
//     gaussian_diagonal     mean and log-variance
//     logistic              location and log-scale, of one of 256 grey levels: a probability
//     beta                  what softplus makes the two parameters of
//
// Formulas  kernels/formulas.h, kernels/pixel_formulas.h
#pragma once

#include <cstdint>

namespace elbo {

enum class Likelihood : int {
  bernoulli,
  gaussian,
  continuous_bernoulli,
  gaussian_learned,
  gaussian_optimal,
  laplace,
  gaussian_diagonal,
  logistic,
  beta
};

// Outputs of the decoder for each value of the picture.
constexpr int64_t outputs_per_value(Likelihood likelihood) {
  return likelihood >= Likelihood::gaussian_diagonal ? 2 : 1;
}

// Whether the decoder's last layer can do it in one pass (kernels/likelihood_layer.h).
constexpr bool has_fused_layer(Likelihood likelihood) {
  return likelihood == Likelihood::bernoulli || likelihood == Likelihood::gaussian;
}

}  // namespace elbo
