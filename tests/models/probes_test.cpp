#include "models/probes.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/error.h"
#include "kernels/noise.h"

namespace elbo {
namespace {

struct Set {
  std::vector<float> codes;
  std::vector<uint8_t> labels;
  int64_t dim = 2;
  LabelledCodes view() const { return {codes, labels, dim}; }
};

float normal(uint32_t row, uint64_t column, uint32_t set) {
  return normal1(NoiseKey{11}, {NoisePurpose::data, set, row, 0}, column);
}

// Three Gaussians at the corners of a triangle of this size, in a plane that is badly scaled.
Set corners(int64_t count, double size, uint32_t set) {
  Set result;
  for (int64_t i = 0; i < count; ++i) {
    const auto label = static_cast<uint8_t>(i % 3);
    const double angle = 2 * M_PI * label / 3;
    const auto row = static_cast<uint32_t>(i);
    result.codes.push_back(
        static_cast<float>(100 * (size * std::cos(angle) + normal(row, 0, set))));
    result.codes.push_back(
        static_cast<float>(5 + 0.01 * (size * std::sin(angle) + normal(row, 1, set))));
    result.labels.push_back(label);
  }
  return result;
}

TEST(Probes, TellFarGroupsApartAndGuessWhereThereIsNothingToTell) {
  const Set train = corners(600, 6, 0), test = corners(300, 6, 1);
  EXPECT_GT(linear_probe_accuracy(train.view(), test.view()), 0.995);
  const Set flat = corners(600, 0, 0), flat_test = corners(300, 0, 1);
  // Five standard errors of a guess among three.
  const double error = 5 * std::sqrt(2.0 / 9 / 300);
  EXPECT_NEAR(linear_probe_accuracy(flat.view(), flat_test.view()), 1.0 / 3, error);
  EXPECT_NEAR(nearest_neighbour_accuracy(flat.view(), flat_test.view(), 5), 1.0 / 3, error);
}

// Bayes' rule for two unit Gaussians at +-1 is right with probability Phi(1) = 0.8413.
TEST(Probes, ALinearProbeIsAsGoodAsTheBestRule) {
  const auto pair = [](uint32_t which) {
    Set set;
    set.dim = 1;
    for (uint32_t i = 0; i < 4000; ++i) {
      set.labels.push_back(static_cast<uint8_t>(i % 2));
      set.codes.push_back(normal(i, 0, which) + (i % 2 == 0 ? -1.0f : 1.0f));
    }
    return set;
  };
  const Set train = pair(2), test = pair(3);
  EXPECT_NEAR(linear_probe_accuracy(train.view(), test.view()), 0.8413,
              4 * std::sqrt(0.8413 * 0.1587 / 4000));
}

// A ring around a disk: no line tells them apart, neighbours do.
TEST(Probes, NeighboursSeeWhatNoLineCan) {
  const auto ring = [](uint32_t which) {
    Set set;
    for (uint32_t i = 0; i < 400; ++i) {
      const double angle = 0.1 * i + which, radius = i % 2 == 0 ? 0.5 : 3;
      set.codes.push_back(static_cast<float>(radius * std::cos(angle)));
      set.codes.push_back(static_cast<float>(radius * std::sin(angle)));
      set.labels.push_back(static_cast<uint8_t>(i % 2));
    }
    return set;
  };
  const Set train = ring(0), test = ring(1);
  EXPECT_EQ(nearest_neighbour_accuracy(train.view(), test.view(), 3), 1);
  EXPECT_LT(linear_probe_accuracy(train.view(), test.view()), 0.7);
}

TEST(Probes, NeighboursVoteAndTheNearestBreaksTies) {
  const Set train{{0, 1, 2, 3, 10}, {7, 8, 8, 7, 9}, 1};
  const auto label_at = [&](float x, int64_t k) {
    for (const uint8_t label : {7, 8, 9}) {
      const Set one{{x}, {label}, 1};
      if (nearest_neighbour_accuracy(train.view(), one.view(), k) == 1) return int{label};
    }
    return -1;
  };
  EXPECT_EQ(label_at(-1, 1), 7);
  EXPECT_EQ(label_at(-1, 2), 7);  // one vote each; 7 is nearer
  EXPECT_EQ(label_at(-1, 3), 8);
  EXPECT_EQ(label_at(3.2f, 4), 7);
  EXPECT_EQ(label_at(9, 1), 9);
  EXPECT_EQ(label_at(1.4f, 99), 8);  // all five vote: two, two and one; 8 is nearer
}

// Against all distances in double, in dimensions that fill whole lanes, whole strides and neither.
TEST(Probes, NeighboursAreThoseOfExactDistances) {
  for (const int64_t dim : {1, 15, 16, 17, 127, 128, 129, 300}) {
    constexpr uint32_t kTrain = 60, kAsked = 25;
    Set train;
    train.dim = dim;
    std::vector<float> asked;
    for (uint32_t i = 0; i < kTrain + kAsked; ++i) {
      for (int64_t d = 0; d < dim; ++d) {
        (i < kTrain ? train.codes : asked).push_back(normal(i, static_cast<uint64_t>(d), 20));
      }
      if (i < kTrain) train.labels.push_back(static_cast<uint8_t>(i));
    }
    const auto found = nearest_neighbour_labels(train.view(), asked, 1);
    ASSERT_EQ(found.size(), kAsked);
    for (uint32_t i = 0; i < kAsked; ++i) {
      uint8_t nearest = 0;
      double least = 1e300;
      for (uint32_t j = 0; j < kTrain; ++j) {
        double squares = 0;
        for (int64_t d = 0; d < dim; ++d)
          squares += std::pow(double{asked[i * dim + d]} - train.codes[j * dim + d], 2);
        if (squares >= least) continue;
        least = squares;
        nearest = static_cast<uint8_t>(j);
      }
      EXPECT_EQ(found[i], nearest) << "dim " << dim << ", row " << i;
    }
  }
  const Set one{{0, 0}, {1}, 2};
  EXPECT_THROW(nearest_neighbour_labels(one.view(), std::vector<float>{1, 2, 3}, 1), Error);
}

TEST(Probes, DirectionsLeadFromOthersToTheLabel) {
  const Set set = corners(900, 4, 5);
  for (const DirectionKind kind : {DirectionKind::mean_difference, DirectionKind::logistic}) {
    // Label 0 lies at +4 across, the mean of the others at -2.
    const std::vector<double> direction = label_direction(set.view(), 0, kind);
    EXPECT_NEAR(direction[0], 600, 30);
    EXPECT_NEAR(direction[1], 0, 0.03);
  }
  EXPECT_THROW(label_direction(set.view(), 3, DirectionKind::mean_difference), Error);
}

// Two Gaussians with a shared covariance: the ascent is the inverse covariance times the difference.
TEST(Probes, TheLogisticDirectionSeesThroughCorrelations) {
  Set set;
  for (uint32_t i = 0; i < 6000; ++i) {
    const float a = normal(i, 0, 9), b = normal(i, 1, 9), off = i % 2 == 0 ? 0.0f : 1.0f;
    set.codes.push_back(off + a);
    set.codes.push_back(off + a + 0.5f * b);  // differs from the first by noise only
    set.labels.push_back(static_cast<uint8_t>(i % 2));
  }
  const std::vector<double> mean = label_direction(set.view(), 1, DirectionKind::mean_difference);
  EXPECT_NEAR(mean[1] / mean[0], 1, 0.1);
  const std::vector<double> logistic = label_direction(set.view(), 1, DirectionKind::logistic);
  EXPECT_NEAR(logistic[0], 1, 0.15);  // ((1, 1), (1, 1.25))^-1 (1, 1) = (1, 0)
  EXPECT_NEAR(logistic[1], 0, 0.15);
}

TEST(Auroc, CountsPairs) {
  const std::vector<uint8_t> outlier = {0, 0, 1, 1};
  EXPECT_EQ(auroc(std::vector<double>{1, 2, 3, 4}, outlier), 1);
  EXPECT_EQ(auroc(std::vector<double>{4, 3, 2, 1}, outlier), 0);
  EXPECT_EQ(auroc(std::vector<double>{1, 3, 2, 4}, outlier), 0.75);
  EXPECT_EQ(auroc(std::vector<double>{5, 5, 5, 5}, outlier), 0.5);
  EXPECT_EQ(auroc(std::vector<double>{1, 2, 2, 4}, outlier), 0.875);
  EXPECT_THROW(auroc(std::vector<double>{1, 2}, std::vector<uint8_t>{0, 0}), Error);
  EXPECT_THROW(auroc(std::vector<double>{1}, outlier), Error);
  EXPECT_THROW(auroc(std::vector<double>{1, std::nan(""), 2, 3}, outlier), Error);
}

}  // namespace
}  // namespace elbo
