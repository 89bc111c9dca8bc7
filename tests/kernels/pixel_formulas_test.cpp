// The likelihoods of single values: derivatives against dual numbers, fp32 against double far into
// the tails, total probability, and SciPy's values (tests/golden/make_likelihoods.py).
#include "kernels/pixel_formulas.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "tests/support/dual.h"

namespace elbo {
namespace {

using Dual = math::Dual<double>;
using math::constant;
using math::variable;
namespace f = formulas;

// -log p of one value by raw outputs, as kernels put it together, and its derivatives.
template <class T>
struct Density {
  std::string name;
  T (*nll)(T x, T first, T second);
  T (*dfirst)(T x, T first, T second);
  T (*dsecond)(T x, T first, T second);
};

// The five of them by raw outputs, on any number type.
template <class T>
std::vector<T (*)(T x, T first, T second)> losses() {
  return {[](T x, T l, T) { return f::continuous_bernoulli_nll(l, x); },
          [](T x, T m, T s) { return f::laplace_nll_of_errors(math::abs(x - m), T(1), s); },
          [](T x, T m, T r) { return f::gaussian_nll(x, m, f::bounded_logvar(r)); },
          [](T x, T m, T r) { return f::logistic_nll(x, m, f::bounded_log_scale(r)); },
          [](T x, T a, T b) { return f::beta_nll(x, f::beta_parameter(a), f::beta_parameter(b)); }};
}

template <class T>
std::vector<Density<T>> densities() {
  const auto nll = losses<T>();
  return {
      {"continuous-bernoulli", nll[0],
       [](T x, T l, T) { return f::continuous_bernoulli_nll_dlogit(l, x); }, nullptr},
      {"laplace", nll[1],
       [](T x, T m, T s) { return f::laplace_nll_direction(x, m) * math::exp(-s); }, nullptr},
      {"gaussian-diagonal", nll[2],
       [](T x, T m, T r) { return f::gaussian_nll_dmean(x, m, math::exp(-f::bounded_logvar(r))); },
       [](T x, T m, T r) {
         return f::gaussian_nll_dlogvar(x, m, math::exp(-f::bounded_logvar(r))) *
                f::bounded_logvar_derivative(r);
       }},
      {"logistic", nll[3],
       [](T x, T m, T r) { return f::logistic_nll_dlocation(x, m, f::bounded_log_scale(r)); },
       [](T x, T m, T r) {
         return f::logistic_nll_dlog_scale(x, m, f::bounded_log_scale(r)) *
                f::bounded_log_scale_derivative(r);
       }},
      {"beta", nll[4],
       [](T x, T a, T b) {
         return f::beta_nll_da(x, f::beta_parameter(a), f::beta_parameter(b)) *
                f::beta_parameter_derivative(a);
       },
       [](T x, T a, T b) {
         return f::beta_nll_db(x, f::beta_parameter(a), f::beta_parameter(b)) *
                f::beta_parameter_derivative(b);
       }},
  };
}

const std::vector<double> kOutputs = {-60, -20, -9,   -5.5, -2,  -1.01, -0.99, -0.3, -1e-3,
                                      0,   0.2, 0.97, 1.03, 2.5, 5.01,  10.5,  30,   60};
const std::vector<int> kLevels = {0, 1, 90, 254, 255};

std::string at(const std::string& name, double x, double a, double b) {
  return concat(name, " of ", x, " at ", a, ", ", b);
}

TEST(PixelFormulas, DerivativesAreExactFarIntoTheTails) {
  const auto exact = losses<Dual>();
  const auto tested = densities<double>();
  for (size_t k = 0; k < exact.size(); ++k) {
    for (const int level : kLevels) {
      for (const double a : kOutputs) {
        for (const double b : kOutputs) {
          const double x = level / 255.0;
          if (tested[k].name == "laplace" && x == a) continue;  // the kink
          const double by_first = exact[k](constant(x), variable(a), constant(b)).d;
          // A difference of terms up to e^20: relative to what cancels, a few roundings.
          const double scale = 1.0 + std::abs(by_first);
          EXPECT_NEAR(tested[k].dfirst(x, a, b), by_first, 1e-11 * scale)
              << at(tested[k].name, x, a, b);
          if (!tested[k].dsecond) continue;
          const double by_second = exact[k](constant(x), constant(a), variable(b)).d;
          EXPECT_NEAR(tested[k].dsecond(x, a, b), by_second, 1e-11 * (1.0 + std::abs(by_second)))
              << at(tested[k].name, x, a, b);
        }
      }
    }
  }
}

// What rounding the inputs of a density to fp32 costs: half an ulp of each times the slope there.
double cost_of_rounding(const Density<double>& density, double x, double a, double b) {
  const double h = 1e-6, ulp = 0x1p-24;
  const auto nll = [&](double dx, double da, double db) {
    return density.nll(x + dx, a + da, b + db);
  };
  const double here = nll(0, 0, 0);
  return ulp * (std::abs(nll(x < 0.5 ? h : -h, 0, 0) - here) / h * (x + 1.0 / 510) +
                std::abs(nll(0, h, 0) - here) / h * std::abs(a) +
                std::abs(nll(0, 0, h) - here) / h * std::abs(b));
}

TEST(PixelFormulas, AgreeWithDoubleInFp32FarIntoTheTails) {
  const auto tested = densities<float>();
  const auto exact = densities<double>();
  for (size_t k = 0; k < exact.size(); ++k) {
    for (const int level : kLevels) {
      for (const double first : kOutputs) {
        for (const double second : kOutputs) {
          const float x = static_cast<float>(level) / 255.0f, a = static_cast<float>(first),
                      b = static_cast<float>(second);
          const double truth = exact[k].nll(x, a, b);
          // A dozen roundings of terms of one sign and the exponentials of bounded values.
          const double tolerance =
              2e-6 + 3e-6 * std::abs(truth) + 8 * cost_of_rounding(exact[k], x, a, b);
          EXPECT_NEAR(tested[k].nll(x, a, b), truth, tolerance) << at(exact[k].name, x, a, b);
          const double slope = exact[k].dfirst(x, a, b);
          EXPECT_NEAR(tested[k].dfirst(x, a, b), slope, 2e-6 + 2e-5 * std::abs(slope))
              << "d first, " << at(exact[k].name, x, a, b);
        }
      }
    }
  }
}

TEST(PixelFormulas, AreNanForNan) {
  for (const auto& density : densities<float>()) {
    EXPECT_TRUE(std::isnan(density.nll(0.5f, NAN, 0.3f))) << density.name;
    EXPECT_TRUE(std::isnan(density.dfirst(0.5f, NAN, 0.3f)) || density.name == "laplace")
        << density.name;
    if (!density.dsecond) continue;
    EXPECT_TRUE(std::isnan(density.dsecond(0.5f, 0.2f, NAN))) << density.name;
  }
}

// ---- Total probability --------------------------------------------------------------------------

double integral(double low, double high, const std::function<double(double)>& density) {
  const int steps = 200'000;  // of the kink of a Laplace density 5e-7 are left
  const double h = (high - low) / steps;
  double sum = 0;
  for (int i = 0; i < steps; ++i) sum += density(low + (i + 0.5) * h);
  return sum * h;
}

TEST(PixelFormulas, IntegrateToOne) {
  for (const auto& density : densities<double>()) {
    if (density.name == "logistic") continue;
    for (const double a : {-0.6, 0.0, 0.3, 2.0}) {
      for (const double b : {-0.6, 0.4, 1.5}) {
        const auto p = [&](double x) { return std::exp(-density.nll(x, a, b)); };
        double total = 0;
        if (density.name == "beta") {  // infinite at its ends: by t = sigmoid(u)
          total = integral(-34, 34, [&](double u) {
            const double t = math::sigmoid(u);
            return p((256 * t - 0.5) / 255) * t * (1 - t) * 256 / 255;
          });
        } else if (density.name == "continuous-bernoulli") {
          total = integral(0, 1, p);
        } else {
          const double reach = 25 * std::exp(1.5);  // all but e^-25
          total = integral(a - reach, a + reach, p);
        }
        EXPECT_NEAR(total, 1.0, 1e-6) << at(density.name, 0, a, b);
      }
    }
  }
}

TEST(PixelFormulas, LogisticSumsToOneOverTheGreyLevels) {
  for (const double location : {-3.0, 0.0, 0.25, 0.999, 7.0}) {
    for (const double raw : {-30.0, -6.0, -3.0, 0.0, 4.0}) {
      double sum = 0, sum_in_fp32 = 0;
      for (int level = 0; level < 256; ++level) {
        const double scale = f::bounded_log_scale(raw);
        sum += std::exp(-f::logistic_nll(level / 255.0, location, scale));
        sum_in_fp32 += std::exp(-static_cast<double>(
            f::logistic_nll(static_cast<float>(level) / 255.0f, static_cast<float>(location),
                            static_cast<float>(scale))));
      }
      EXPECT_NEAR(sum, 1.0, 1e-12) << location << " " << raw;
      // At the smallest scale a bin is a few dozen scales wide, and an ulp of x is felt at its
      // edges.
      EXPECT_NEAR(sum_in_fp32, 1.0, raw < -20 ? 2e-3 : 2e-5) << location << " " << raw;
    }
  }
}

// ---- Single properties --------------------------------------------------------------------------

TEST(ContinuousBernoulli, SeriesAndClosedFormMeetAtTheSwitch) {
  for (const double edge : {-1.0, 1.0}) {
    const double inside = edge * (1 - 1e-12), outside = edge * (1 + 1e-12);
    EXPECT_NEAR(f::continuous_bernoulli_log_normaliser(inside),
                f::continuous_bernoulli_log_normaliser(outside), 5e-11);
    EXPECT_NEAR(f::continuous_bernoulli_mean(inside), f::continuous_bernoulli_mean(outside), 6e-10);
  }
  EXPECT_EQ(f::continuous_bernoulli_log_normaliser(0.0f), 0.0f);
  EXPECT_EQ(f::continuous_bernoulli_mean(0.0f), 0.5f);
  // In fp32 the closed form has lost a tenth of a per cent here.
  const float l = 1e-3f, closed = 1.0f / (1.0f - std::exp(-l)) - 1.0f / l;
  EXPECT_GT(std::abs(closed - 0.5f), 5e-4f);
  EXPECT_NEAR(f::continuous_bernoulli_mean(l), 0.5 + 1e-3 / 12, 1e-7);
}

TEST(DiscretisedLogistic, KeepsALogarithmWhereTheDifferenceIsZero) {
  const float location = -4.0f, log_scale = -4.0f;  // 240 scales below x
  const float x = 100.0f / 255.0f, inverse = std::exp(4.0f);
  const float upper = (x - location + 1.0f / 510) * inverse;
  const float lower = (x - location - 1.0f / 510) * inverse;
  EXPECT_EQ(math::sigmoid(upper) - math::sigmoid(lower), 0.0f) << "the textbook form";
  EXPECT_NEAR(f::logistic_nll(x, location, log_scale),
              f::logistic_nll<double>(x, location, log_scale), 1e-4);
  EXPECT_NEAR(f::logistic_nll_dlocation(x, location, log_scale), -inverse, 1e-4 * inverse);
}

TEST(BoundedLogvar, HasAnInverse) {
  for (const double v : {-19.0, -15.0, -10.0, -3.0, 0.0, 9.99, 12.0, 19.0}) {
    EXPECT_NEAR(f::bounded_logvar(f::bounded_logvar_inverse(v)), v, 1e-12);
  }
  EXPECT_EQ(f::bounded_logvar_inverse(-INFINITY), f::bounded_logvar_inverse(-19.0));
  EXPECT_TRUE(std::isnan(f::bounded_logvar_inverse(NAN)));
}

TEST(Beta, MeanIsThatOfTheStretchedDistribution) {
  for (const double a : {0.8, 2.0, 9.0}) {
    const double low = -1.0 / 510, high = 1 + 1.0 / 510;
    const double mean =
        integral(low, high, [&](double x) { return x * std::exp(-f::beta_nll(x, a, 3.0)); });
    EXPECT_NEAR(f::beta_mean(a, 3.0), mean, a < 1 ? 1e-4 : 1e-8) << a;
  }
}

TEST(GammaCorrections, AgreeWithLibmAndInFp32) {
  for (double x = 1.0 / 64; x < 3000; x *= 1.07) {
    const auto rounded = static_cast<float>(x);
    const double exact = static_cast<double>(rounded);
    const double by_libm =
        std::lgamma(exact) - ((exact - 0.5) * std::log(exact) - exact + 0.5 * std::log(2 * M_PI));
    const double lost = 1e-15 * std::abs(std::lgamma(exact));  // by libm's large terms
    EXPECT_NEAR(math::stirling_error(exact), by_libm, 1e-14 + 4 * lost) << x;
    const double stirling = math::stirling_error(exact), digamma = math::digamma_error(exact);
    EXPECT_NEAR(math::stirling_error(rounded), stirling, 1e-6 + 3e-7 * std::abs(stirling)) << x;
    EXPECT_NEAR(math::digamma_error(rounded), digamma, 1e-6 + 3e-7 * std::abs(digamma)) << x;
    // psi is the derivative of log Gamma.
    const double h = 1e-4 * x;
    const double slope = (math::stirling_error(x + h) - math::stirling_error(x - h)) / (2 * h);
    EXPECT_NEAR(slope, math::digamma_error(x) + 0.5 / x, 1e-7 / x) << x;
  }
}

// ---- Golden values ------------------------------------------------------------------------------

TEST(PixelFormulas, MatchSciPy) {
  std::ifstream file(ELBO_SOURCE_DIR "/tests/golden/likelihoods.json");
  const auto golden = nlohmann::json::parse(file);
  for (const auto& row : golden["gamma"]) {
    const double x = row["x"];
    EXPECT_NEAR(math::stirling_error(x), row["stirling_error"], 1e-13) << x;
    EXPECT_NEAR(math::digamma_error(x), row["digamma_error"], 1e-13) << x;
  }
  const auto exact = densities<double>();
  const auto rounded = densities<float>();
  size_t compared = 0;
  for (const auto& row : golden["cases"]) {
    const double x = row["level"].get<double>() / 255, a = row["first"], b = row["second"];
    const double nll = row["nll"];
    for (size_t k = 0; k < exact.size(); ++k) {
      if (exact[k].name != row["likelihood"].get<std::string>()) continue;
      ++compared;
      EXPECT_NEAR(exact[k].nll(x, a, b), nll, 1e-6 + 1e-9 * std::abs(nll)) << row;
      const double tolerance =
          2e-6 + 3e-6 * std::abs(nll) + 8 * cost_of_rounding(exact[k], x, a, b);
      EXPECT_NEAR(
          rounded[k].nll(static_cast<float>(x), static_cast<float>(a), static_cast<float>(b)), nll,
          tolerance)
          << row;
    }
  }
  EXPECT_GE(compared, 500u);
}

}  // namespace
}  // namespace elbo
