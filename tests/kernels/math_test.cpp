// kernels/math.h against libm in double over the whole range of float, its special values, and the
// promise that every instruction set computes the same bits.
#include "kernels/math.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace elbo {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Strides through the floats: primes, so that all exponents and mantissa patterns are visited.
// Sanitized builds have no FMA clones and call fmaf: they take fewer points.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
constexpr uint64_t kFine = 65537;
#else
constexpr uint64_t kFine = 257;
#endif
constexpr uint64_t kCoarse = 65537;

// One function under test. `apply` is a clone per instruction set, `apply_scalar` calls the
// function one element at a time without vectorisation.
struct Function {
  const char* name;
  void (*apply)(const float*, float*, int64_t);
  float (*apply_scalar)(float);
  double (*reference)(double);
  double max_ulp;                  // stated in kernels/math.h
  float low = -kInf, high = kInf;  // domain of the bound
};

void PrintTo(const Function& f, std::ostream* out) { *out << f.name; }

#define ELBO_TESTED(NAME, EXPRESSION)                                     \
  ELBO_CLONES void apply_##NAME(const float* in, float* out, int64_t n) { \
    _Pragma("omp simd") for (int64_t i = 0; i < n; ++i) {                 \
      const float x = in[i];                                              \
      out[i] = EXPRESSION;                                                \
    }                                                                     \
  }                                                                       \
  __attribute__((noinline)) float scalar_##NAME(float x) { return EXPRESSION; }

ELBO_TESTED(exp, math::exp(x))
ELBO_TESTED(expm1, math::expm1(x))
ELBO_TESTED(expm1_minus_x, math::expm1_minus_x(x))
ELBO_TESTED(log, math::log(x))
ELBO_TESTED(log1p, math::log1p(x))
ELBO_TESTED(tanh, math::tanh(x))
ELBO_TESTED(sigmoid, math::sigmoid(x))
ELBO_TESTED(softplus, math::softplus(x))
ELBO_TESTED(sqrt, math::sqrt(x))
ELBO_TESTED(normal_pdf, math::normal_pdf(x))
ELBO_TESTED(normal_cdf, math::normal_cdf(x))
ELBO_TESTED(sin_turns, math::sincos_turns(x).sin)
ELBO_TESTED(cos_turns, math::sincos_turns(x).cos)

double reference_expm1_minus_x(double x) {
  if (x > 700.0) return std::exp(x);  // infinite as a float; inf - inf would be NaN
  if (std::fabs(x) >= 0.5) return std::expm1(x) - x;
  double sum = 0.0, term = x * x / 2.0;  // plain Taylor, summed upwards
  for (int k = 3; k < 30; ++k) {
    sum += term;
    term *= x / k;
  }
  return sum;
}
double reference_sigmoid(double x) {
  return x < 0 ? std::exp(x) / (1.0 + std::exp(x)) : 1.0 / (1.0 + std::exp(-x));
}
double reference_softplus(double x) {
  return x < 0 ? std::log1p(std::exp(x)) : x + std::log1p(std::exp(-x));
}
double reference_pdf(double x) { return std::exp(-0.5 * x * x) / std::sqrt(2.0 * M_PI); }
double reference_cdf(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }
double reference_sin(double u) { return std::sin(2.0 * M_PI * u); }
double reference_cos(double u) { return std::cos(2.0 * M_PI * u); }
template <double (*F)(double)>
double libm(double x) {
  return F(x);
}

#define ELBO_FUNCTION(NAME, REFERENCE, ...) \
  Function { #NAME, apply_##NAME, scalar_##NAME, REFERENCE, __VA_ARGS__ }

// The sine of the whole turn is bounded on the quarter where the reference's own 2 pi u has no
// error of reduction; other quadrants are the same polynomials (SincosTurns tests).
const Function kFunctions[] = {
    ELBO_FUNCTION(exp, libm<std::exp>, 1.0),
    ELBO_FUNCTION(expm1, libm<std::expm1>, 1.5),
    ELBO_FUNCTION(expm1_minus_x, reference_expm1_minus_x, 2.0),
    ELBO_FUNCTION(log, libm<std::log>, 1.0),
    ELBO_FUNCTION(log1p, libm<std::log1p>, 1.0),
    ELBO_FUNCTION(tanh, libm<std::tanh>, 1.5),
    ELBO_FUNCTION(sigmoid, reference_sigmoid, 1.6),
    ELBO_FUNCTION(softplus, reference_softplus, 1.7),
    ELBO_FUNCTION(sqrt, libm<std::sqrt>, 0.5001),
    ELBO_FUNCTION(normal_pdf, reference_pdf, 1.4),
    ELBO_FUNCTION(normal_cdf, reference_cdf, 3.6),
    ELBO_FUNCTION(sin_turns, reference_sin, 1.0, -0.25f, 0.25f),
    ELBO_FUNCTION(cos_turns, reference_cos, 1.0, -0.2f, 0.2f),
};

// Distance in units in the last place of the float next to the true value; denormals share one ulp.
double ulp_error(float got, double truth) {
  int exponent = 0;
  std::frexp(truth, &exponent);
  return std::fabs(got - truth) / std::ldexp(1.0, std::max(exponent - 24, -149));
}

// Calls body(inputs) on buffers that together hold every stride-th float and all powers of two with
// their neighbours.
template <class Body>
void for_all_floats(uint64_t stride, Body body) {
  std::vector<float> buffer;
  const auto push = [&](uint32_t bits) {
    buffer.push_back(std::bit_cast<float>(bits));
    if (buffer.size() == 4096) {
      body(buffer);
      buffer.clear();
    }
  };
  for (uint64_t bits = 0; bits < (uint64_t{1} << 32); bits += stride) {
    push(static_cast<uint32_t>(bits));
  }
  for (uint32_t sign_exponent = 0; sign_exponent < 512; ++sign_exponent) {
    for (uint32_t offset = 0; offset < 3; ++offset) push((sign_exponent << 23) + offset - 1u);
  }
  if (!buffer.empty()) body(buffer);
}

class Math : public testing::TestWithParam<Function> {};

TEST_P(Math, StaysWithinItsStatedUlpOverTheWholeRange) {
  const Function& f = GetParam();
  double worst = 0.0;
  float worst_at = 0.0f;
  std::vector<float> out;
  for_all_floats(kFine, [&](const std::vector<float>& in) {
    out.resize(in.size());
    f.apply(in.data(), out.data(), static_cast<int64_t>(in.size()));
    for (size_t i = 0; i < in.size(); ++i) {
      if (!(in[i] >= f.low && in[i] <= f.high)) continue;
      const double truth = f.reference(static_cast<double>(in[i]));
      if (!std::isfinite(static_cast<float>(truth))) continue;  // see SpecialValues
      const double error = ulp_error(out[i], truth);
      if (!(error <= worst)) {
        worst = error;
        worst_at = in[i];
      }
    }
  });
  RecordProperty("max_ulp", std::to_string(worst));
  EXPECT_LE(worst, f.max_ulp) << "at " << std::hexfloat << worst_at;
  EXPECT_GE(worst, 0.25) << "an error this small means that nothing was compared";
}

TEST_P(Math, AgreesWithLibmOnInfinitiesNanAndOverflow) {
  const Function& f = GetParam();
  if (f.high < kInf) return;  // sin and cos have a bounded domain
  std::vector<float> out;
  for_all_floats(kCoarse, [&](const std::vector<float>& in) {
    out.resize(in.size());
    f.apply(in.data(), out.data(), static_cast<int64_t>(in.size()));
    for (size_t i = 0; i < in.size(); ++i) {
      const double truth = f.reference(static_cast<double>(in[i]));
      const auto rounded = static_cast<float>(truth);
      if (std::isfinite(rounded)) continue;
      if (std::isnan(truth)) {
        ASSERT_TRUE(std::isnan(out[i])) << f.name << "(" << in[i] << ") = " << out[i];
      } else {
        ASSERT_EQ(out[i], rounded) << f.name << "(" << in[i] << ")";
      }
    }
  });
}

TEST_P(Math, GivesTheSameBitsVectorisedAndOneAtATime) {
  const Function& f = GetParam();
  std::vector<float> out;
  for_all_floats(kCoarse, [&](const std::vector<float>& in) {
    out.resize(in.size());
    f.apply(in.data(), out.data(), static_cast<int64_t>(in.size()));
    for (size_t i = 0; i < in.size(); ++i) {
      if (std::isnan(out[i])) continue;  // a NaN's sign and payload are not promised
      ASSERT_EQ(math::bits_of(out[i]), math::bits_of(f.apply_scalar(in[i])))
          << f.name << " at " << std::hexfloat << in[i];
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Functions, Math, testing::ValuesIn(kFunctions),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(MathSpecialValues, AreThoseOfTheRealFunctions) {
  EXPECT_EQ(math::exp(0.0f), 1.0f);
  EXPECT_EQ(math::exp(kInf), kInf);
  EXPECT_EQ(math::exp(-kInf), 0.0f);
  EXPECT_EQ(math::exp(88.73f), kInf);
  EXPECT_EQ(math::exp(-103.0f), std::numeric_limits<float>::denorm_min());
  EXPECT_EQ(math::expm1(-kInf), -1.0f);
  EXPECT_EQ(math::expm1_minus_x(0.0f), 0.0f);
  EXPECT_EQ(math::expm1_minus_x(-kInf), kInf);
  EXPECT_EQ(math::expm1_minus_x(kInf), kInf);
  EXPECT_EQ(math::log(1.0f), 0.0f);
  EXPECT_EQ(math::log(0.0f), -kInf);
  EXPECT_EQ(math::log(-0.0f), -kInf);
  EXPECT_TRUE(std::isnan(math::log(-1.0f)));
  EXPECT_EQ(math::log1p(-1.0f), -kInf);
  EXPECT_TRUE(std::isnan(math::log1p(-1.0000001f)));
  EXPECT_EQ(math::tanh(kInf), 1.0f);
  EXPECT_EQ(math::tanh(-kInf), -1.0f);
  EXPECT_EQ(math::sigmoid(0.0f), 0.5f);
  EXPECT_EQ(math::sigmoid(kInf), 1.0f);
  EXPECT_EQ(math::sigmoid(-kInf), 0.0f);
  EXPECT_EQ(math::softplus(-kInf), 0.0f);
  EXPECT_EQ(math::softplus(kInf), kInf);
  EXPECT_EQ(math::normal_cdf(0.0f), 0.5f);
  EXPECT_EQ(math::normal_cdf(kInf), 1.0f);
  EXPECT_EQ(math::normal_cdf(-kInf), 0.0f);
  EXPECT_EQ(math::normal_pdf(kInf), 0.0f);
}

TEST(MathSpecialValues, KeepTheSignOfZeroWhereTheFunctionIsOdd) {
  EXPECT_TRUE(std::signbit(math::expm1(-0.0f)));
  EXPECT_TRUE(std::signbit(math::tanh(-0.0f)));
}

TEST(MathSpecialValues, AreNanForNan) {
  for (const Function& f : kFunctions) EXPECT_TRUE(std::isnan(f.apply_scalar(kNan))) << f.name;
}

// What an expression that subtracts would lose: the reason that this function exists.
TEST(MathExpm1MinusX, KeepsFullPrecisionNearZero) {
  for (const float x : {1e-7f, -1e-6f, 1e-4f, 1e-3f, -1e-3f, 0.02f}) {
    const double truth = reference_expm1_minus_x(static_cast<double>(x));
    EXPECT_NEAR(math::expm1_minus_x(x) / truth, 1.0, 2e-7) << x;
  }
  EXPECT_GT(std::fabs((math::expm1(1e-3f) - 1e-3f) / reference_expm1_minus_x(1e-3f) - 1.0), 1e-5);
}

TEST(MathExpm1MinusX, MeetsItsOwnDoubleVersion) {
  for (double x = -3.0; x < 3.0; x += 0.0137) {
    EXPECT_NEAR(math::expm1_minus_x(x) / reference_expm1_minus_x(x), 1.0, 1e-14) << x;
  }
}

TEST(MathSincosTurns, IsExactOnQuarterTurns) {
  const float sines[] = {0.0f, 1.0f, 0.0f, -1.0f};
  for (int quarter = -9; quarter <= 9; ++quarter) {
    const math::SinCos s = math::sincos_turns(0.25f * static_cast<float>(quarter));
    EXPECT_EQ(s.sin, sines[(quarter + 12) % 4]) << quarter;
    EXPECT_EQ(s.cos, sines[(quarter + 13) % 4]) << quarter;
  }
}

TEST(MathSincosTurns, IsAccurateToHalfAnUlpOfOneOverManyTurns) {
  for (int i = -200000; i <= 200000; ++i) {
    const float u = static_cast<float>(i) * 0.0001733f;
    const double turn = std::remainder(static_cast<double>(u), 1.0);  // exact
    const math::SinCos s = math::sincos_turns(u);
    ASSERT_NEAR(s.sin, reference_sin(turn), 1.1e-7) << u;  // 1.8 units of 2^-24
    ASSERT_NEAR(s.cos, reference_cos(turn), 1.1e-7) << u;
  }
}

// A fingerprint of the results on 2^16 inputs. It is the same for every compiler, instruction set
// and device; a change here changes every trained model and every noise bit, and must be meant.
TEST(MathFingerprint, HasNotChanged) {
  uint64_t hash = 14695981039346656037u;  // FNV-1a over 32-bit words
  for (const Function& f : kFunctions) {
    for (uint32_t i = 0; i < 65536; ++i) {
      const float x =
          f.high < kInf ? static_cast<float>(i) * 0x1p-16f : std::bit_cast<float>(i << 16);
      const float y = f.apply_scalar(x);
      hash = (hash ^ (std::isnan(y) ? 0x7fc00000u : math::bits_of(y))) * 1099511628211u;
    }
  }
  EXPECT_EQ(hash, 7911574243931908077u);
}

}  // namespace
}  // namespace elbo
