#include "models/audit_likelihood.h"

#include <cmath>
#include <numbers>

#include "kernels/error.h"

namespace elbo {
namespace {

constexpr double kHalfBin = 1.0 / 510;  // of a grey level, of which there are 256 from 0 to 1

// -log sigmoid(t)
double negative_log_sigmoid(double t) {
  return t > 0 ? std::log1p(std::exp(-t)) : std::log1p(std::exp(t)) - t;
}

double bernoulli(double x, double logit) {
  double nats = 0;
  if (x > 0) nats += x * negative_log_sigmoid(logit);
  if (x < 1) nats += (1 - x) * negative_log_sigmoid(-logit);
  return nats;
}

// A truncated exponential distribution of this rate, which is negative where it rises.
double continuous_bernoulli(double x, double logit) {
  const double rate = std::abs(logit), from_peak = logit > 0 ? 1 - x : x;
  if (rate < 1e-5) return (0.5 - x) * logit;  // to the second order in the logit
  return rate * from_peak + std::log(-std::expm1(-rate) / rate);
}

double continuous_bernoulli_mean(double logit) {
  const double rate = std::abs(logit);
  if (rate < 1e-4) return 0.5 + logit / 12;
  const double below_half = 1 / rate - 1 / std::expm1(rate);
  return logit > 0 ? 1 - below_half : below_half;
}

double gaussian(double x, double mean, double logvar) {
  const double error = x - mean;
  return 0.5 * (std::log(2 * std::numbers::pi) + logvar + error * error * std::exp(-logvar));
}

double laplace(double x, double median, double log_scale) {
  return std::abs(x - median) * std::exp(-log_scale) + log_scale + std::numbers::ln2;
}

// By logarithms of the distribution function, from whichever end leaves digits to subtract.
double logistic(double x, double location, double log_scale) {
  const double scale = std::exp(log_scale);
  const double upper = (x + kHalfBin - location) / scale;
  const double lower = (x - kHalfBin - location) / scale;
  if (x < kHalfBin) return negative_log_sigmoid(upper);
  if (x > 1 - kHalfBin) return negative_log_sigmoid(-lower);
  const bool left = upper + lower < 0;
  const double larger = -negative_log_sigmoid(left ? upper : -lower);
  const double smaller = -negative_log_sigmoid(left ? lower : -upper);
  return -(larger + std::log1p(-std::exp(smaller - larger)));
}

double log_gamma(double x) {
  int sign = 0;  // std::lgamma would write it to a global that threads share
  return lgamma_r(x, &sign);
}

double beta_parameter(double raw) { return 1.0 / 64 + negative_log_sigmoid(-raw); }

// Of x = (256 t - 1/2) / 255 with t ~ Beta(a, b).
double beta(double x, double a, double b) {
  const double t = (255 * x + 0.5) / 256;
  return log_gamma(a) + log_gamma(b) - log_gamma(a + b) - (a - 1) * std::log(t) -
         (b - 1) * std::log1p(-t) - std::log(255.0 / 256);
}

double nll_of_value(const AuditLikelihood& likelihood, double x, double first, double second) {
  switch (likelihood.kind) {
    case Likelihood::bernoulli:
      return bernoulli(x, first);
    case Likelihood::continuous_bernoulli:
      return continuous_bernoulli(x, first);
    case Likelihood::gaussian:
    case Likelihood::gaussian_learned:
    case Likelihood::gaussian_optimal:
      return gaussian(x, first, likelihood.log_variance);
    case Likelihood::gaussian_diagonal:
      return gaussian(x, first, audit_bounded_logvar(second));
    case Likelihood::laplace:
      return laplace(x, first, likelihood.log_scale);
    case Likelihood::logistic:  // the bound of a log-scale is half that of a log-variance
      return logistic(x, first, audit_bounded_logvar(2 * second) / 2);
    case Likelihood::beta:
      return beta(x, beta_parameter(first), beta_parameter(second));
  }
  throw Error("unknown likelihood");
}

double mean_of_value(Likelihood kind, double first, double second) {
  if (kind == Likelihood::bernoulli) return 1 / (1 + std::exp(-first));
  if (kind == Likelihood::continuous_bernoulli) return continuous_bernoulli_mean(first);
  if (kind != Likelihood::beta) return first;
  const double a = beta_parameter(first), b = beta_parameter(second);
  return (256 * a / (a + b) - 0.5) / 255;
}

// visit(d, first, second) for the outputs of value d.
template <class Visit>
void each_value(Likelihood kind, int64_t size, int64_t channels, const double* output,
                Visit visit) {
  const bool pairs = audit_outputs(kind) == 2;
  for (int64_t d = 0; d < size; ++d) {
    const int64_t at = pairs ? d + d / channels * channels : d;
    visit(d, output[at], pairs ? output[at + channels] : 0.0);
  }
}

}  // namespace

double audit_bounded_logvar(double raw) {
  if (raw > 10.0) return 20.0 - 100.0 / raw;
  if (raw < -10.0) return -20.0 - 100.0 / raw;
  return raw;
}

int64_t audit_outputs(Likelihood kind) {
  const bool pairs = kind == Likelihood::gaussian_diagonal || kind == Likelihood::logistic ||
                     kind == Likelihood::beta;
  return pairs ? 2 : 1;
}

double audit_nll(const AuditLikelihood& likelihood, int64_t size, int64_t channels, const double* x,
                 const double* output) {
  double nats = 0;
  each_value(likelihood.kind, size, channels, output, [&](int64_t d, double first, double second) {
    nats += nll_of_value(likelihood, x[d], first, second);
  });
  return nats;
}

std::vector<double> audit_means(const AuditLikelihood& likelihood, int64_t size, int64_t channels,
                                const double* output) {
  std::vector<double> means(static_cast<size_t>(size));
  each_value(likelihood.kind, size, channels, output, [&](int64_t d, double first, double second) {
    means[d] = mean_of_value(likelihood.kind, first, second);
  });
  return means;
}

}  // namespace elbo
