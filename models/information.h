// Information measures, and how well sampling estimates them.
//
//   H(P)       = -sum_i p_i log p_i
//   KL(P||Q)   =  sum_i p_i log(p_i / q_i)                    >= 0, 0 only for P = Q; not symmetric
//   Gaussian   KL(N(m, diag v) || N(n, diag w)) = sum_d (log(w/v) + (v + (m-n)^2)/w - 1) / 2
//              H(N(m, diag v)) = sum_d (1 + log 2 pi v) / 2
//   evidence   log p(x) = log E_q [p(x|z) p(z) / q(z)]: with q = p(z), naive Monte Carlo; the nearer q is
//              to p(z|x), the less the weights vary, and at q = p(z|x) they are all p(x)
//
// Units     nats
// Numerics  double; weights are summed relative to the largest, so that none underflows to nothing
// Errors    elbo::Error for what is no distribution
// Source    Cover & Thomas 2006, Elements of Information Theory, chapters 2 and 8
#pragma once

#include <cstdint>
#include <span>

namespace elbo {

double entropy_nats(std::span<const double> p);
// Infinite where p has an outcome that q has not.
double kl_nats(std::span<const double> p, std::span<const double> q);

double gaussian_entropy_nats(std::span<const double> variance);
double gaussian_kl_nats(std::span<const double> mean_p, std::span<const double> variance_p,
                        std::span<const double> mean_q, std::span<const double> variance_q);

// log density of N(mean, diag variance) at z.
double gaussian_log_density(std::span<const double> z, std::span<const double> mean,
                            std::span<const double> variance);

// An average over independent samples.
struct Estimate {
  double value = 0;
  double standard_error = 0;
};
Estimate sample_mean(std::span<const double> samples);

// log of the average of weights that are given by their logarithms.
struct EvidenceEstimate {
  double log_evidence = 0;
  // Variance of a weight over its squared mean: the estimate's standard error is about
  // sqrt(relative_variance / n) nats.
  double relative_variance = 0;
  double effective_samples = 0;  // (sum w)^2 / sum w^2
};
EvidenceEstimate estimate_evidence(std::span<const double> log_weights);

}  // namespace elbo
