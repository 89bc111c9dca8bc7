// Shuffled dimensions and the weights that turn a discriminator's gradient into that of a total correlation.
#include "kernels/density_ratio.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "tests/support/device.h"
#include "tests/support/error_of.h"
#include "tests/support/values.h"

namespace elbo {
namespace {

class DensityRatioTest : public DeviceTest {
 protected:
  struct Permuted {
    std::vector<float> y, target;
  };

  Permuted permute(const std::vector<float>& z, int64_t batch, int64_t dim, uint64_t seed) {
    DeviceBuffer<float> from(device(), z), y(device(), static_cast<size_t>(2 * batch * dim)),
        target(device(), static_cast<size_t>(2 * batch));
    NoiseSource noise;
    noise.seed = seed;
    noise.purpose = NoisePurpose::permute;
    permute_dimensions(
        exec(), PermuteDimensions<float>{batch, dim, noise, from.data(), y.data(), target.data()});
    return {y.download(), target.download()};
  }
};

TEST_P(DensityRatioTest, EveryDimensionIsShuffledByItself) {
  constexpr int64_t kBatch = 37, kDim = 45;
  std::vector<float> z;
  for (int64_t i = 0; i < kBatch * kDim; ++i) z.push_back(static_cast<float>(i));
  const Permuted found = permute(z, kBatch, kDim, 5);
  std::set<std::vector<int64_t>> orders;
  for (int64_t d = 0; d < kDim; ++d) {
    std::vector<int64_t> order;
    for (int64_t b = 0; b < kBatch; ++b) {
      EXPECT_EQ(found.y[static_cast<size_t>(b * kDim + d)], z[static_cast<size_t>(b * kDim + d)]);
      const auto value =
          static_cast<int64_t>(found.y[static_cast<size_t>((kBatch + b) * kDim + d)]);
      ASSERT_EQ(value % kDim, d) << "of another dimension";
      order.push_back(value / kDim);
    }
    EXPECT_EQ(std::set<int64_t>(order.begin(), order.end()).size(), static_cast<size_t>(kBatch));
    orders.insert(order);
  }
  EXPECT_EQ(orders.size(), static_cast<size_t>(kDim)) << "two dimensions in the same order";
  for (int64_t b = 0; b < 2 * kBatch; ++b) {
    EXPECT_EQ(found.target[static_cast<size_t>(b)], b < kBatch ? 0.0f : 1.0f) << b;
  }
  EXPECT_NE(permute(z, kBatch, kDim, 6).y, found.y);
  EXPECT_EQ(permute({1, 2, 3}, 1, 3, 6).y, (std::vector<float>{1, 2, 3, 1, 2, 3}));
  EXPECT_EQ(permute({1, 2}, 2, 1, 6).target, (std::vector<float>{0, 0, 1, 1}));
}

TEST_P(DensityRatioTest, BackwardIsOfRowsInTheirPlace) {
  const auto dy = random_values<float>(2 * 5 * 3, 1), old = random_values<float>(5 * 3, 2);
  DeviceBuffer<float> from(device(), dy), dz(device(), old);
  permute_dimensions_backward<float>(exec(), 5, 3, from.data(), dz.data(), GradMode::add);
  const std::vector<float> added = dz.download();
  permute_dimensions_backward<float>(exec(), 5, 3, from.data(), dz.data(), GradMode::write);
  EXPECT_EQ(dz.download(), std::vector<float>(dy.begin(), dy.begin() + 15));
  for (size_t i = 0; i < added.size(); ++i) EXPECT_EQ(added[i], old[i] + dy[i]);
}

// Times the cross-entropy's gradient, sigmoid(l) / 2B, they are factor times that of mean(-l).
TEST_P(DensityRatioTest, WeightsUndoTheCrossEntropy) {
  const std::vector<float> logits = {0, -3, 7, -59, -200, 1, -1, 60, 0, 5};
  DeviceBuffer<float> from(device(), logits), w(device(), logits.size());
  ratio_weights<float>(exec(), 5, 3.0f, from.data(), w.data());
  const std::vector<float> found = w.download();
  for (size_t b = 0; b < 5; ++b) {
    const double l = std::max(-60.0, static_cast<double>(logits[b]));
    const double gradient = 1 / (1 + std::exp(-l)) / 10;
    EXPECT_NEAR(found[b] * gradient, -3.0 / 5, 1e-5) << logits[b];
    EXPECT_EQ(found[5 + b], 0.0f);
  }
}

TEST_P(DensityRatioTest, NothingToDoAndMissingOperands) {
  expect_no_launch();
  permute_dimensions(exec(), PermuteDimensions<float>{});
  permute_dimensions_backward<float>(exec(), 0, 3, nullptr, nullptr, GradMode::write);
  ratio_weights<float>(exec(), 0, 1.0f, nullptr, nullptr);
  EXPECT_EQ(
      error_of([&] {
        permute_dimensions(exec(), PermuteDimensions<float>{1, 1, {}, nullptr, nullptr, nullptr});
      }),
      "1: permute_dimensions: z, y or target is null");
  EXPECT_EQ(error_of([&] { ratio_weights<float>(exec(), 1, 1.0f, nullptr, nullptr); }),
            "1: ratio_weights: logits or w is null");
}

INSTANTIATE_TEST_SUITE_P(Devices, DensityRatioTest, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
