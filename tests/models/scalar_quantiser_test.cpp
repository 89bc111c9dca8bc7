#include "models/scalar_quantiser.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "kernels/error.h"

namespace elbo {
namespace {

TEST(ScalarQuantiser, RoundsToTheMiddleOfAStep) {
  // The second dimension is ten times as wide; two bits make four steps.
  const std::vector<float> range = {0, -20, 4, 20};
  const ScalarQuantiser quantiser(range, 2, 2);
  EXPECT_EQ(quantiser.rounded(std::vector<float>{0, -20, 0.9f, -11, 1.1f, 9, 4, 20}),
            (std::vector<float>{0.5f, -15, 0.5f, -15, 1.5f, 5, 3.5f, 15}));
  EXPECT_EQ(quantiser.rounded(std::vector<float>{-7, 99}), (std::vector<float>{0.5f, 15}));
}

TEST(ScalarQuantiser, ErrsByHalfAStepAtMostAndHasSoManyValues) {
  std::vector<float> codes;
  for (int i = 0; i < 1000; ++i) codes.push_back(std::sin(static_cast<float>(i)));
  for (const int bits : {1, 3, 8, 24}) {
    const std::vector<float> rounded = ScalarQuantiser(codes, 1, bits).rounded(codes);
    const double half_step = 1 / std::ldexp(1.0, bits);
    for (size_t i = 0; i < codes.size(); ++i) {
      EXPECT_NEAR(rounded[i], codes[i], half_step * 1.0001 + 1e-7);
    }
    const std::set<float> values(rounded.begin(), rounded.end());
    if (bits < 5) {
      EXPECT_EQ(values.size(), 1u << bits);
    }
  }
}

TEST(ScalarQuantiser, KeepsWhatNeverChanges) {
  const ScalarQuantiser quantiser(std::vector<float>{3, 3, 3}, 1, 8);
  EXPECT_EQ(quantiser.rounded(std::vector<float>{3}), (std::vector<float>{3}));
  EXPECT_THROW(ScalarQuantiser({}, 1, 8), Error);
  EXPECT_THROW(ScalarQuantiser(std::vector<float>{1, 2, 3}, 2, 8), Error);
  EXPECT_THROW(ScalarQuantiser(std::vector<float>{1}, 1, 0), Error);
  EXPECT_THROW(ScalarQuantiser(std::vector<float>{1}, 1, 25), Error);
}

}  // namespace
}  // namespace elbo
