#include "kernels/bernoulli_nll.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "tests/kernels/loss_oracle.h"
#include "tests/support/device.h"
#include "tests/support/error_of.h"
#include "tests/support/values.h"

namespace elbo {
namespace {

struct Wanted {
  bool nll, gradient;
  GradMode mode = GradMode::write;
};

class BernoulliNllTest : public DeviceTest {
 protected:
  // One case against brute force. Weights are per row, or one for all when stride is 0.
  template <class T, class Target>
  void check(MatrixShape shape, size_t shift, Wanted wanted, int64_t weight_stride) {
    using R = Compute<T>;
    const auto [rows, cols] = shape;
    const auto logits = random_values<T>(rows * cols, 1, -6.0, 6.0);
    const auto target = oracle::random_targets<Target>(rows * cols, 2);
    const auto weights = random_values<R>(rows, 3);
    const auto old = random_values<T>(rows * cols, 4);
    DeviceBuffer<T> l(device(), logits, shift), dl(device(), old, shift);
    DeviceBuffer<Target> x(device(), target, shift);
    DeviceBuffer<R> w(device(), weights), nll(device(), static_cast<size_t>(rows));
    const R scale = R(0.25);
    bernoulli_nll<T, Target>(exec(), {l.data(),
                                      x.data(),
                                      rows,
                                      cols,
                                      wanted.nll ? nll.data() : nullptr,
                                      wanted.gradient ? dl.data() : nullptr,
                                      {w.data(), weight_stride, scale},
                                      wanted.mode});

    const std::string what = concat(rows, "x", cols, " shift ", shift, " loss ", wanted.nll,
                                    " mode ", static_cast<int>(wanted.mode));
    std::vector<double> expected_nll(rows, 0.0), expected_gradient(rows * cols);
    for (int64_t i = 0; i < rows * cols; ++i) {
      const int64_t row = i / cols;
      const double logit = to_float(logits[i]), grey = oracle::grey(target[i]);
      expected_nll[row] += oracle::bernoulli_nll(logit, grey);
      expected_gradient[i] =
          scale * weights[row * weight_stride] * (oracle::sigmoid(logit) - grey) +
          (wanted.mode == GradMode::add ? to_float(old[i]) : 0.0);
    }
    if (wanted.nll) {
      // A term is below 7 and rounded a few times at that size, though the term may be smaller.
      const double per_term = 7 * 4 * (std::is_same_v<T, double> ? 0x1p-53 : 0x1p-24);
      expect_close(nll.download(), expected_nll, per_term * static_cast<double>(cols) + 1e-30,
                   oracle::sum_tolerance<T>(cols), what + " nll");
    }
    if (wanted.gradient) {
      // sigmoid and the difference are a few roundings at size 1, the weight is below 1/2.
      expect_close(dl.download(), expected_gradient,
                   std::is_same_v<T, double> ? 1e-15 : 4 * 0x1p-24, oracle::kStore<T>,
                   what + " dlogits");
    } else {
      EXPECT_EQ(bytes_of(dl.download()), bytes_of(old)) << what;
    }
  }

  template <class T, class Target>
  void check_all() {
    for (const MatrixShape shape : kMatrixShapes) {
      for (const size_t shift : {0, 1, 3}) {
        check<T, Target>(shape, shift, {true, true}, 1);
        check<T, Target>(shape, shift, {true, true, GradMode::add}, 0);
      }
      check<T, Target>(shape, 0, {true, false}, 0);
      check<T, Target>(shape, 0, {false, true}, 1);
      check<T, Target>(shape, 0, {false, true, GradMode::add}, 1);
    }
    for (const int64_t size : kSizes) {
      check<T, Target>({1, size}, 0, {true, true}, 1);
      check<T, Target>({size, 2}, 0, {true, true}, 1);
    }
  }

  std::vector<float> nll_of(std::vector<float> logits, std::vector<float> target) {
    DeviceBuffer<float> l(device(), logits), x(device(), target), nll(device(), 1);
    bernoulli_nll<float, float>(
        exec(), {l.data(), x.data(), 1, static_cast<int64_t>(logits.size()), nll.data()});
    return nll.download();
  }
};

TEST_P(BernoulliNllTest, FloatAgainstBruteForce) { check_all<float, float>(); }
TEST_P(BernoulliNllTest, FloatOfPixelsAgainstBruteForce) { check_all<float, uint8_t>(); }
TEST_P(BernoulliNllTest, Bf16AgainstBruteForce) { check_all<bf16, float>(); }
TEST_P(BernoulliNllTest, Bf16OfPixelsAgainstBruteForce) { check_all<bf16, uint8_t>(); }

TEST(BernoulliNllOracle, DoubleAgainstBruteForce) {
  const std::vector<double> logits = random_values<double>(33, 1), target(33, 0.25);
  double nll = 0, expected = 0;
  std::vector<double> dl(33), weight = {3.0};
  bernoulli_nll<double, double>(
      Exec{}, {logits.data(), target.data(), 1, 33, &nll, dl.data(), {weight.data(), 0, 1.0}});
  for (size_t i = 0; i < 33; ++i) {
    expected += oracle::bernoulli_nll(logits[i], 0.25);
    EXPECT_NEAR(dl[i], 3.0 * (oracle::sigmoid(logits[i]) - 0.25), 1e-15);  // a few roundings of 3
  }
  EXPECT_NEAR(nll, expected, 1e-13);  // 33 terms near 1
}

TEST_P(BernoulliNllTest, HugeLogitsGiveExactLossesAndGradients) {
  const std::vector<float> logits = {1e4f, 1e4f, -1e4f, -1e4f}, target = {1, 0, 1, 0}, one = {1};
  DeviceBuffer<float> l(device(), logits), x(device(), target), w(device(), one);
  DeviceBuffer<float> nll(device(), 4), dl(device(), 4);
  bernoulli_nll<float, float>(exec(),
                              {l.data(), x.data(), 4, 1, nll.data(), dl.data(), {w.data(), 0}});
  EXPECT_EQ(nll.download(), (std::vector<float>{0, 1e4f, 1e4f, 0}));
  EXPECT_EQ(dl.download(), (std::vector<float>{0, 1, -1, 0}));
}

TEST_P(BernoulliNllTest, AGreyTargetAtItsBestLogitCostsItsEntropy) {
  const double p = 0.3, entropy = -p * std::log(p) - (1 - p) * std::log(1 - p);
  const auto logit = static_cast<float>(std::log(p / (1 - p)));
  EXPECT_NEAR(nll_of({logit}, {0.3f})[0], entropy, 2e-7);  // two roundings of values near 1
}

TEST_P(BernoulliNllTest, NanStaysInItsRow) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> logits = {0, nan, 0, 0}, target = {0, 0, 0, 0}, one = {1};
  DeviceBuffer<float> l(device(), logits), x(device(), target), w(device(), one);
  DeviceBuffer<float> nll(device(), 2), dl(device(), 4);
  bernoulli_nll<float, float>(exec(),
                              {l.data(), x.data(), 2, 2, nll.data(), dl.data(), {w.data(), 0}});
  const auto losses = nll.download(), gradient = dl.download();
  EXPECT_TRUE(std::isnan(losses[0]) && std::isnan(gradient[1]));
  EXPECT_FALSE(std::isnan(losses[1]) || std::isnan(gradient[0]) || std::isnan(gradient[2]));
}

TEST_P(BernoulliNllTest, GradientMayReplaceTheLogits) {
  const int64_t rows = 5, cols = 64;
  const auto logits = random_values(rows * cols, 1), target = random_values(rows * cols, 2, 0, 1);
  DeviceBuffer<float> l(device(), logits), x(device(), target), w(device(), std::vector{2.0f});
  DeviceBuffer<float> apart(device(), rows * cols), nll(device(), rows), nll2(device(), rows);
  const LossWeight weight{w.data(), 0};
  bernoulli_nll<float, float>(exec(),
                              {l.data(), x.data(), rows, cols, nll.data(), apart.data(), weight});
  bernoulli_nll<float, float>(exec(),
                              {l.data(), x.data(), rows, cols, nll2.data(), l.data(), weight});
  EXPECT_EQ(l.download(), apart.download());
  EXPECT_EQ(nll2.download(), nll.download());
}

TEST_P(BernoulliNllTest, EveryOrderOfThreadsGivesTheSameBits) {
  const int64_t rows = 7, cols = 1000;
  const auto logits = random_values(rows * cols, 1), target = random_values(rows * cols, 2, 0, 1);
  const auto run = [&] {
    DeviceBuffer<float> l(device(), logits), x(device(), target), w(device(), std::vector{2.0f});
    DeviceBuffer<float> dl(device(), rows * cols), nll(device(), rows);
    bernoulli_nll<float, float>(
        exec(), {l.data(), x.data(), rows, cols, nll.data(), dl.data(), {w.data(), 0}});
    return bytes_of(nll.download()) + bytes_of(dl.download());
  };
  for_each_order(device(), run);
  if (device() == Device::cpu) oracle::expect_same_bits_for_any_thread_count(run);
}

TEST_P(BernoulliNllTest, AnEmptyBatchLaunchesNothing) {
  expect_no_launch();
  bernoulli_nll<float, float>(exec(), {nullptr, nullptr, 0, 784});
}

TEST_P(BernoulliNllTest, MissingPointersAreNamed) {
  expect_no_launch();
  DeviceBuffer<float> l(device(), std::vector{1.0f});
  const BernoulliNll<float, float> no_target{l.data(), nullptr, 1, 1};
  EXPECT_EQ(error_of([&] { bernoulli_nll(exec(), no_target); }),
            "1: bernoulli_nll: target is null");
  const BernoulliNll<float, float> no_weight{l.data(), l.data(), 1, 1, nullptr, l.data()};
  EXPECT_EQ(error_of([&] { bernoulli_nll(exec(), no_weight); }),
            "1: bernoulli_nll: a gradient is wanted and weight.values is null");
}

INSTANTIATE_TEST_SUITE_P(Devices, BernoulliNllTest, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
