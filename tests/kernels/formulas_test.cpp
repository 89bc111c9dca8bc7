// Every scalar formula: its derivative against a dual number (exact), its fp32 value against
// double, and the value itself against an independent expression.
#include "kernels/formulas.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "kernels/activation.h"
#include "tests/support/dual.h"

namespace elbo {
namespace {

using Dual = math::Dual<double>;
using math::constant;
using math::variable;
namespace f = formulas;

const std::vector<double> kValues = {-30.0, -12.5, -10.0, -9.99, -4.0, -1.0, -0.3,
                                     -1e-3, -1e-6, 1e-6,  1e-3,  0.25, 0.99, 1.0,
                                     3.5,   8.0,   10.0,  10.01, 17.0, 42.0};
const std::vector<double> kMeans = {-3.0, -0.7, 0.0, 1e-3, 0.5, 2.25};
const std::vector<double> kTargets = {0.0, 0.1, 0.5, 1.0};

void expect_exact(double got, double exact, const std::string& where) {
  // 1e-12 relative: a few thousand roundings of double, a millionth of any real mistake.
  EXPECT_NEAR(got, exact, 1e-12 * std::fabs(exact) + 1e-300) << where;
}

std::string at(double a, double b = 0.0, double c = 0.0) {
  return "at " + std::to_string(a) + ", " + std::to_string(b) + ", " + std::to_string(c);
}

// ---- Derivatives against dual numbers -----------------------------------------------------------

TEST(BoundedLogvar, DerivativeIsExact) {
  for (const double v : kValues) {
    expect_exact(f::bounded_logvar_derivative(v), f::bounded_logvar(variable(v)).d, at(v));
  }
}

TEST(GaussianSample, DerivativesAreExact) {
  for (const double mu : kMeans) {
    for (const double v : kValues) {
      for (const double eps : {-2.0, 0.0, 0.3}) {
        const Dual by_mu = f::gaussian_sample(variable(mu), constant(v), constant(eps));
        const Dual by_logvar = f::gaussian_sample(constant(mu), variable(v), constant(eps));
        expect_exact(1.0, by_mu.d, at(mu, v, eps));
        expect_exact(f::gaussian_sample_dlogvar(v, eps), by_logvar.d, at(mu, v, eps));
      }
    }
  }
}

TEST(GaussianKl, DerivativesAreExact) {
  for (const double mu : kMeans) {
    for (const double v : kValues) {
      expect_exact(f::gaussian_kl_dmu(mu), f::gaussian_kl(variable(mu), constant(v)).d, at(mu, v));
      expect_exact(f::gaussian_kl_dlogvar(v), f::gaussian_kl(constant(mu), variable(v)).d,
                   at(mu, v));
    }
  }
}

// The chain through the bound, as kernels apply it.
TEST(GaussianKl, DerivativeOfTheRawLogvarIsTheProductOfBoth) {
  for (const double raw : kValues) {
    const Dual kl = f::gaussian_kl(constant(0.5), f::bounded_logvar(variable(raw)));
    expect_exact(f::gaussian_kl_dlogvar(f::bounded_logvar(raw)) * f::bounded_logvar_derivative(raw),
                 kl.d, at(raw));
  }
}

TEST(BernoulliNll, DerivativeIsExact) {
  for (const double logit : kValues) {
    for (const double x : kTargets) {
      // At |l| = 30 and x = s(l) to the last bits, s - x cancels: relative to the larger term.
      const double exact = f::bernoulli_nll(variable(logit), constant(x)).d;
      EXPECT_NEAR(f::bernoulli_nll_dlogit(logit, x), exact, 1e-15 + 1e-12 * std::fabs(exact))
          << at(logit, x);
    }
  }
  EXPECT_EQ(f::bernoulli_nll(variable(0.0), constant(0.25)).d, 0.25);
  EXPECT_EQ(f::bernoulli_nll_dlogit(0.0, 0.25), 0.25);
}

TEST(GaussianNll, DerivativesAreExact) {
  for (const double mean : kMeans) {
    for (const double v : kValues) {
      for (const double x : {-1.0, 0.2, 3.0}) {
        const double precision = std::exp(-v), error = x - mean;
        const Dual by_mean = f::gaussian_nll(constant(x), variable(mean), constant(v));
        const Dual by_logvar = f::gaussian_nll(constant(x), constant(mean), variable(v));
        expect_exact(f::gaussian_nll_dmean(x, mean, precision), by_mean.d, at(mean, v, x));
        expect_exact(f::gaussian_nll_dlogvar(x, mean, precision), by_logvar.d, at(mean, v, x));
        const Dual squares =
            f::gaussian_nll_of_squares(constant(error * error), constant(7.0), variable(v));
        expect_exact(f::gaussian_nll_of_squares_dlogvar(error * error, 7.0, v), squares.d,
                     at(mean, v, x));
      }
    }
  }
}

// ---- Values -------------------------------------------------------------------------------------

TEST(BoundedLogvar, IsTheIdentityInsideAndBoundedOutside) {
  for (const float v : {-10.0f, -9.5f, -1e-20f, 0.0f, 3.25f, 10.0f}) {
    EXPECT_EQ(f::bounded_logvar(v), v);
    EXPECT_EQ(f::bounded_logvar_derivative(v), 1.0f);
  }
  for (const float v : {11.0f, 100.0f, 1e10f, 3e38f, INFINITY}) {
    EXPECT_GT(f::bounded_logvar(v), 10.0f);
    EXPECT_LE(f::bounded_logvar(v), 20.0f);
    EXPECT_EQ(f::bounded_logvar(-v), -f::bounded_logvar(v));
    EXPECT_GE(f::bounded_logvar_derivative(v), 0.0f);
    EXPECT_LT(f::bounded_logvar_derivative(v), 1.0f);
  }
  EXPECT_FLOAT_EQ(f::bounded_logvar(20.0f), 15.0f);
  EXPECT_TRUE(std::isnan(f::bounded_logvar(NAN)));
}

TEST(BoundedLogvar, IsContinuousWithItsSlopeAtTheKnee) {
  const double h = 1e-9;
  for (const double knee : {-10.0, 10.0}) {
    EXPECT_NEAR(f::bounded_logvar(knee - h), f::bounded_logvar(knee + h), 2.1 * h);
    EXPECT_NEAR(f::bounded_logvar_derivative(knee - h), f::bounded_logvar_derivative(knee + h),
                1e-8);
  }
}

TEST(GaussianKl, IsZeroAtTheStandardNormalAndPositiveElsewhere) {
  EXPECT_EQ(f::gaussian_kl(0.0f, 0.0f), 0.0f);
  for (const double v : kValues) {
    EXPECT_GT(f::gaussian_kl(0.0f, f::bounded_logvar(static_cast<float>(v))), 0.0f) << v;
    EXPECT_GT(f::gaussian_kl(1e-3f, static_cast<float>(v)), 0.0f) << v;
  }
}

// Directly from the definition: E_q[log q - log p] on a grid of 20 sigma, in double.
TEST(GaussianKl, IsTheIntegralThatDefinesIt) {
  for (const double mu : {0.0, 0.8, -2.0}) {
    for (const double v : {-1.5, 0.0, 0.7}) {
      const double sigma = std::exp(0.5 * v), step = 1e-3;
      double integral = 0.0;
      for (double e = -10.0; e < 10.0; e += step) {
        const double z = mu + sigma * e, density = std::exp(-0.5 * e * e) / std::sqrt(2 * M_PI);
        integral += density * (-0.5 * e * e - 0.5 * v + 0.5 * z * z) * step;
      }
      EXPECT_NEAR(f::gaussian_kl(mu, v), integral, 1e-8) << at(mu, v);
    }
  }
}

// fp32 against double where the textbook form cancels. 1e-4 is the promise at 1e-3; this form keeps
// it down to the smallest v.
TEST(GaussianKl, KeepsItsPrecisionForSmallLogvarInFp32) {
  for (const float v : {1e-6f, -1e-5f, 1e-3f, -1e-3f, 0.1f, -0.4f}) {
    const double truth = f::gaussian_kl(0.0, static_cast<double>(v));
    EXPECT_NEAR(f::gaussian_kl(0.0f, v) / truth, 1.0, 3e-7) << v;
  }
  const float v = 1e-3f, textbook = -0.5f * (1.0f + v - std::exp(v));
  EXPECT_GT(std::fabs(textbook / f::gaussian_kl(0.0, 1e-3) - 1.0), 1e-2) << "cancels, as known";
}

TEST(GaussianKl, AgreesWithDoubleEverywhereInFp32) {
  for (const double mu : kMeans) {
    for (const double v : kValues) {
      const double bounded = f::bounded_logvar(v);
      const double truth = f::gaussian_kl(mu, bounded);
      const float got =
          f::gaussian_kl(static_cast<float>(mu), f::bounded_logvar(static_cast<float>(v)));
      // e^v multiplies the rounding of v itself, 2^-24 |v|, by dKL/dv.
      const double from_rounding = 1.2e-7 * std::fabs(bounded * f::gaussian_kl_dlogvar(bounded));
      EXPECT_NEAR(got, truth, 4e-7 * truth + from_rounding) << at(mu, v);
    }
  }
}

TEST(BernoulliNll, IsTheCrossEntropyOfProbabilities) {
  for (const double logit : {-9.0, -2.0, 0.0, 0.4, 7.0}) {
    for (const double x : kTargets) {
      const double p = 1.0 / (1.0 + std::exp(-logit));
      const double direct = -x * std::log(p) - (1.0 - x) * std::log(1.0 - p);
      EXPECT_NEAR(f::bernoulli_nll(logit, x), direct, 1e-12 * (1.0 + direct)) << at(logit, x);
    }
  }
}

TEST(BernoulliNll, IsFiniteAndExactForExtremeLogits) {
  EXPECT_EQ(f::bernoulli_nll(1e4f, 0.0f), 1e4f);
  EXPECT_EQ(f::bernoulli_nll(-1e4f, 1.0f), 1e4f);
  EXPECT_EQ(f::bernoulli_nll(1e4f, 1.0f), 0.0f);
  EXPECT_EQ(f::bernoulli_nll_dlogit(1e4f, 1.0f), 0.0f);
  EXPECT_EQ(f::bernoulli_nll_dlogit(-1e4f, 1.0f), -1.0f);
  EXPECT_NEAR(f::bernoulli_nll(-50.0f, 0.0f) / std::exp(-50.0), 1.0, 1e-6);
  EXPECT_TRUE(std::isnan(f::bernoulli_nll(NAN, 0.5f)));
}

TEST(GaussianNll, IsMinusTheLogDensity) {
  for (const double v : {-3.0, 0.0, 1.7}) {
    const double sigma = std::exp(0.5 * v), x = 0.3, mean = -0.4;
    const double density =
        std::exp(-0.5 * std::pow((x - mean) / sigma, 2)) / (sigma * std::sqrt(2.0 * M_PI));
    EXPECT_NEAR(f::gaussian_nll(x, mean, v), -std::log(density), 1e-14) << v;
  }
}

TEST(GaussianNll, AtUnitVarianceIsHalfTheSquaredErrorAndAConstant) {
  EXPECT_NEAR(f::gaussian_nll(1.0, 3.0, 0.0), 0.5 * 4.0 + 0.5 * std::log(2.0 * M_PI), 1e-15);
  EXPECT_NEAR(f::gaussian_nll_of_squares(10.0, 3.0, 0.0), 5.0 + 1.5 * std::log(2.0 * M_PI), 1e-14);
}

// The best fixed variance is the mean squared error (Rybkin et al., arXiv:2006.13202).
TEST(GaussianNll, IsStationaryWhereTheVarianceIsTheMeanSquaredError) {
  EXPECT_NEAR(f::gaussian_nll_of_squares_dlogvar(6.0, 50.0, std::log(6.0 / 50.0)), 0.0, 1e-13);
}

// ---- Activations --------------------------------------------------------------------------------

struct CheckDerivative {
  template <Activation A>
  void operator()() const {
    for (const double x : kValues) {
      const Dual y = activate<A>(variable(x));
      const double kept = needs_pre_activation(A) ? x : y.v;
      const double got = activate_backward<A>(kept, 3.0) / 3.0;
      // From y, tanh and sigmoid lose what y has lost of x: 1 - y^2 is exact to an ulp of 1.
      const double absolute = A == Activation::tanh || A == Activation::sigmoid ? 1e-15 : 1e-300;
      EXPECT_NEAR(got, y.d, 1e-12 * std::fabs(y.d) + absolute) << activation_name(A) << at(x);
    }
  }
};

struct CheckFloat {
  template <Activation A>
  void operator()() const {
    for (float x = -20.0f; x <= 20.0f; x += 0.0371f) {
      const double truth = activate<A>(static_cast<double>(x));
      const float y = activate<A>(x);
      EXPECT_NEAR(y, truth, 5e-7 * std::fabs(truth) + 1e-38) << activation_name(A) << at(x);
      const float kept = needs_pre_activation(A) ? x : y;
      const double kept_truth = needs_pre_activation(A) ? static_cast<double>(x) : truth;
      EXPECT_NEAR(activate_backward<A>(kept, 1.0f), activate_backward<A>(kept_truth, 1.0), 5e-7)
          << activation_name(A) << at(x);
    }
  }
};

struct CheckNan {
  template <Activation A>
  void operator()() const {
    EXPECT_TRUE(std::isnan(activate<A>(NAN))) << activation_name(A);
  }
};

TEST(Activations, DerivativesAreExact) {
  for (const Activation a : kActivations) dispatch_activation(a, CheckDerivative{});
}

TEST(Activations, AgreeWithDoubleInFp32) {
  for (const Activation a : kActivations) dispatch_activation(a, CheckFloat{});
}

TEST(Activations, PassNanOn) {
  for (const Activation a : kActivations) dispatch_activation(a, CheckNan{});
}

TEST(Activations, HaveTheirTextbookValues) {
  EXPECT_EQ(activate<Activation::relu>(-2.0f), 0.0f);
  EXPECT_EQ(activate<Activation::leaky_relu>(-2.0f), -0.02f);
  EXPECT_NEAR(activate<Activation::silu>(1.0), 1.0 / (1.0 + std::exp(-1.0)), 1e-15);
  EXPECT_NEAR(activate<Activation::gelu>(1.0), 0.84134474606854293, 1e-15);
  EXPECT_NEAR(activate<Activation::softplus>(0.0), std::log(2.0), 1e-15);
  EXPECT_EQ(activate_backward<Activation::relu>(0.0f, 1.0f), 0.0f);
}

TEST(Activations, AreParsedByTheirNamesAndRefuseOthers) {
  for (const Activation a : kActivations) EXPECT_EQ(parse_activation(activation_name(a)), a);
  try {
    parse_activation("swish");
    FAIL() << "swish was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    EXPECT_NE(std::string(error.what()).find("silu"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace elbo
