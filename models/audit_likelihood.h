// The auditor's own -log p(x | z) of an image, in double: part of its licensed second copy
// (models/audit_net.h), so nothing here calls kernels/formulas.h or kernels/pixel_formulas.h.
//
// Shapes    x [size] in H, W, C order; output [size], or with two outputs per value [2 size], of
//           each pixel [first of its channels | second of its channels]
// Units     nats per image, constants included
#pragma once

#include <cstdint>
#include <vector>

#include "models/config.h"

namespace elbo {

struct AuditLikelihood {
  Likelihood kind = Likelihood::bernoulli;
  double log_variance = 0.0;  // of the Gaussians of one variance; a model's file may have its own
  double log_scale = 0.0;     // of the Laplace distribution
};

// 1, or 2 for a mean and a scale of every pixel and the like.
int64_t audit_outputs(Likelihood kind);

double audit_nll(const AuditLikelihood& likelihood, int64_t size, int64_t channels, const double* x,
                 const double* output);

// The mean of every value; of the logistic its location.
std::vector<double> audit_means(const AuditLikelihood& likelihood, int64_t size, int64_t channels,
                                const double* output);

// What a network's raw output v means as a log-variance: v itself for |v| <= 10, beyond that
// squeezed towards +-20 by 20 - 100/|v|.
double audit_bounded_logvar(double raw);

}  // namespace elbo
