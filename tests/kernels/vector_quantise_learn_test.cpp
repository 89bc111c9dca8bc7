// How a codebook learns, against plain loops in double.
#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "kernels/vector_quantise.h"
#include "tests/support/device.h"
#include "tests/support/error_of.h"
#include "tests/support/values.h"

namespace elbo {
namespace {

struct Sizes {
  int64_t rows, dim, size;
};
const std::vector<Sizes> kCases = {{1, 1, 1},   {3, 2, 5},    {8, 16, 3},
                                   {40, 17, 4}, {33, 32, 33}, {270, 33, 7},
                                   {64, 3, 65}, {513, 5, 2},  {300, 64, 40}};

// A codebook on a device.
struct Codebook {
  DeviceBuffer<float> codes, sums, counts, members, total, perplexity;
  DeviceBuffer<int64_t> batches;

  Codebook(Device device, const Sizes& s, const std::vector<float>& sum_values,
           const std::vector<float>& count_values, int64_t learned_from)
      : codes(device, sum_values),
        sums(device, sum_values),
        counts(device, count_values),
        members(device, static_cast<size_t>(s.size)),
        total(device, 1),
        perplexity(device, 1),
        batches(device, std::vector{learned_from}) {}

  LearnCodes<float> args(const Sizes& s, const float* x, const int32_t* index) {
    LearnCodes<float> learn;
    learn.rows = s.rows;
    learn.dim = s.dim;
    learn.size = s.size;
    learn.x = x;
    learn.index = index;
    learn.codes = codes.data();
    learn.sums = sums.data();
    learn.counts = counts.data();
    learn.batches = batches.data();
    learn.members = members.data();
    learn.total = total.data();
    learn.perplexity = perplexity.data();
    learn.decay = 0.8f;
    return learn;
  }
};

// Most vectors go to few codes, and the last code gets none if there are several.
std::vector<int32_t> uneven_index(const Sizes& s) {
  std::vector<int32_t> index;
  const int64_t used = std::max<int64_t>(s.size - 1, 1);
  for (int64_t row = 0; row < s.rows; ++row) {
    index.push_back(static_cast<int32_t>(row % 3 == 0 ? (row * 7) % used : row % 2));
    index.back() = static_cast<int32_t>(index.back() % used);
  }
  return index;
}

// The formulas of the header, as they stand there.
struct Oracle {
  std::vector<double> codes, sums, counts, members;
  double total = 0, perplexity = 0;

  Oracle(const Sizes& s, const std::vector<float>& x, const std::vector<int32_t>& index,
         const std::vector<float>& old_sums, const std::vector<float>& old_counts, double decay)
      : codes(old_sums.size()),
        sums(old_sums.begin(), old_sums.end()),
        counts(old_counts.begin(), old_counts.end()),
        members(old_counts.size()) {
    std::vector<double> fresh(sums.size());
    for (int64_t row = 0; row < s.rows; ++row) {
      members[index[row]] += 1;
      for (int64_t d = 0; d < s.dim; ++d) fresh[d * s.size + index[row]] += x[row * s.dim + d];
    }
    double entropy = 0;
    for (int64_t k = 0; k < s.size; ++k) {
      counts[k] = decay * counts[k] + (1 - decay) * members[k];
      total += counts[k];
      const double p = members[k] / static_cast<double>(s.rows);
      if (p > 0) entropy -= p * std::log(p);
    }
    perplexity = std::exp(entropy);
    const double eps = 1e-5, all = total + static_cast<double>(s.size) * eps;
    for (int64_t i = 0; i < s.dim * s.size; ++i) {
      sums[i] = decay * sums[i] + (1 - decay) * fresh[i];
      codes[i] = sums[i] / ((counts[i % s.size] + eps) / all * total);
    }
  }
};

class LearnCodesTest : public DeviceTest {};

TEST_P(LearnCodesTest, MovesMeansOfMembers) {
  for (const Sizes& s : kCases) {
    const std::string at = concat(s.rows, "x", s.dim, "x", s.size);
    const auto x = random_values(s.rows * s.dim, 1), sums = random_values(s.dim * s.size, 2);
    const auto counts = random_values(s.size, 3, 0.5, 3.0);
    const std::vector<int32_t> index = uneven_index(s);
    const Oracle expected(s, x, index, sums, counts, double{0.8f});
    DeviceBuffer<float> x_on(device(), x);
    DeviceBuffer<int32_t> index_on(device(), index);
    Codebook book(device(), s, sums, counts, 5);
    learn_codes(exec(), book.args(s, x_on.data(), index_on.data()));
    // Sums of at most `rows` terms below 2 in fp32, a fifth of which counts.
    const double rounding = 0.4 * static_cast<double>(s.rows + 16) * 0x1p-24;
    expect_close(book.members.download(), expected.members, 0, 0, at + " members");
    expect_close(book.counts.download(), expected.counts, 0, 4 * 0x1p-24, at + " counts");
    expect_close(book.sums.download(), expected.sums, 4 * rounding, 4 * 0x1p-24, at + " sums");
    expect_close(book.total.download(), {expected.total}, 0, 32 * 0x1p-24, at + " total");
    // counts are 0.4 at least
    expect_close(book.codes.download(), expected.codes, 10 * rounding, 4e-6, at + " codes");
    expect_close(book.perplexity.download(), {expected.perplexity}, 0, 2e-6, at + " perplexity");
    EXPECT_EQ(book.batches.download()[0], 6);
  }
}

// Eight parts in order, each in order: on both devices.
TEST_P(LearnCodesTest, SumsHaveTheSameBitsOnBothDevices) {
  const Sizes s{301, 35, 3};
  const auto x = random_values(s.rows * s.dim, 4);
  const std::vector<int32_t> index = uneven_index(s);
  const std::vector<float> zeros(static_cast<size_t>(s.dim * s.size), 0.0f);
  DeviceBuffer<float> x_on(device(), x);
  DeviceBuffer<int32_t> index_on(device(), index);
  Codebook book(device(), s, zeros, {1.0f, 1.0f, 1.0f}, 1);
  LearnCodes<float> args = book.args(s, x_on.data(), index_on.data());
  args.decay = 0.5f;
  learn_codes(exec(), args);
  const std::vector<float> sums = book.sums.download();
  for (int64_t d = 0; d < s.dim; ++d) {
    for (int64_t k = 0; k < s.size; ++k) {
      float total = 0;
      for (int64_t part = 0; part < 8; ++part) {
        float sum = 0;
        for (int64_t row = s.rows * part / 8; row < s.rows * (part + 1) / 8; ++row) {
          if (index[row] == k) sum += x[row * s.dim + d];
        }
        total += sum;
      }
      ASSERT_EQ(sums[d * s.size + k], 0.5f * total) << d << " " << k;
    }
  }
}

TEST_P(LearnCodesTest, PerplexityCountsTheCodesInUse) {
  const Sizes s{48, 1, 50};
  const std::vector<float> x(48, 1.0f), sums(50, 0.0f), counts(50, 1.0f);
  for (const int32_t used : {1, 3, 48}) {
    std::vector<int32_t> index;
    for (int32_t row = 0; row < 48; ++row) index.push_back(49 - row % used);
    DeviceBuffer<float> x_on(device(), x);
    DeviceBuffer<int32_t> index_on(device(), index);
    Codebook book(device(), s, sums, counts, 1);
    learn_codes(exec(), book.args(s, x_on.data(), index_on.data()));
    EXPECT_NEAR(book.perplexity.download()[0], used, 1e-5 * used);
  }
}

// The row of x that column k of a [D, K] matrix holds, times `scale`; -1: none.
int64_t row_of(const Sizes& s, const std::vector<float>& x, const std::vector<float>& matrix,
               int64_t k, float scale = 1.0f) {
  for (int64_t row = 0; row < s.rows; ++row) {
    bool same = true;
    for (int64_t d = 0; d < s.dim; ++d) {
      same = same && matrix[d * s.size + k] == scale * x[row * s.dim + d];
    }
    if (same) return row;
  }
  return -1;
}

TEST_P(LearnCodesTest, TheFirstBatchGivesAllCodesTheirStart) {
  for (const Sizes& s : {Sizes{40, 3, 10}, Sizes{10, 2, 10}, Sizes{4, 3, 10}, Sizes{1, 5, 3}}) {
    const auto x = random_values(s.rows * s.dim, 5);
    const std::vector<float> zeros(static_cast<size_t>(s.dim * s.size), 0.0f);
    DeviceBuffer<float> x_on(device(), x);
    Codebook book(device(), s, zeros, std::vector<float>(static_cast<size_t>(s.size), 0.0f), 0);
    begin_codes(exec(), book.args(s, x_on.data(), nullptr));
    const auto codes = book.codes.download();
    std::set<int64_t> rows;
    for (int64_t k = 0; k < s.size; ++k) {
      const int64_t row = row_of(s, x, codes, k);
      EXPECT_GE(row, 0) << k;
      rows.insert(row);
    }
    EXPECT_EQ(std::ssize(rows), std::min(s.rows, s.size)) << "vectors are used twice";
    EXPECT_EQ(book.sums.download(), zeros);
    EXPECT_EQ(book.batches.download()[0], 0);
  }
}

TEST_P(LearnCodesTest, WhatHasBegunDoesNotBeginAgain) {
  const Sizes s{4, 2, 3};
  DeviceBuffer<float> x_on(device(), random_values(s.rows * s.dim, 6));
  const auto sums = random_values(s.dim * s.size, 7);
  Codebook book(device(), s, sums, {0.0f, 1.0f, 2.0f}, 1);
  begin_codes(exec(), book.args(s, x_on.data(), nullptr));
  EXPECT_EQ(book.codes.download(), sums);
  EXPECT_EQ(book.counts.download(), (std::vector{0.0f, 1.0f, 2.0f}));
}

// 12 vectors, 6 codes: after the step counts are 0.8 old + 0.2 members, and the threshold is 0.25
// of a sixth of their sum.
TEST_P(LearnCodesTest, CodesThatNobodyUsesStartAgain) {
  const Sizes s{12, 3, 6};
  const auto x = random_values(s.rows * s.dim, 8), sums = random_values(s.dim * s.size, 9);
  const std::vector<float> counts = {2.0f, 0.3f, 0.2f, 5.0f, 0.1f, 0.0f};
  const std::vector<int32_t> index = {0, 0, 3, 3, 3, 0, 0, 0, 3, 3, 3, 5};
  const Oracle expected(s, x, index, sums, counts, double{0.8f});
  DeviceBuffer<float> x_on(device(), x);
  DeviceBuffer<int32_t> index_on(device(), index);
  std::vector<std::vector<float>> of_seeds;
  for (const uint64_t seed : {1, 2, 1}) {
    Codebook book(device(), s, sums, counts, 3);
    LearnCodes<float> args = book.args(s, x_on.data(), index_on.data());
    args.restart = 0.25f;
    args.noise.seed = seed;
    learn_codes(exec(), args);
    const auto codes = book.codes.download(), new_sums = book.sums.download();
    const auto new_counts = book.counts.download();
    const float least = 0.25f * book.total.download()[0] / 6.0f;
    EXPECT_NEAR(least, 0.25 * expected.total / 6, 1e-6);
    std::set<int64_t> rows;
    for (int64_t k = 0; k < s.size; ++k) {
      if (expected.counts[k] >= double{least}) {
        EXPECT_NEAR(codes[k], expected.codes[k], 1e-4) << k;
        EXPECT_NEAR(new_counts[k], expected.counts[k], 1e-6) << k;
        continue;
      }
      const int64_t row = row_of(s, x, codes, k);
      EXPECT_GE(row, 0) << k;
      EXPECT_EQ(row_of(s, x, new_sums, k, least), row) << k;
      EXPECT_EQ(new_counts[k], least) << k;
      rows.insert(row);
    }
    // Codes 1, 2, 4 and 5 have 0.24, 0.16, 0.08 and 0.2 of 0.25 * 1.3.
    EXPECT_EQ(rows.size(), 4u) << "not four different vectors";
    of_seeds.push_back(codes);
  }
  EXPECT_EQ(of_seeds[0], of_seeds[2]);
  EXPECT_NE(of_seeds[0], of_seeds[1]);
}

// From counts of 0 a code is the mean of its members after one batch; one that has none stays.
TEST_P(LearnCodesTest, TheFirstMeansAreWhole) {
  const Sizes s{4, 2, 3};
  const std::vector<float> zeros(6, 0.0f);
  DeviceBuffer<float> x_on(device(), {1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 6.0f, -1.0f, -2.0f});
  DeviceBuffer<int32_t> index_on(device(), {0, 0, 0, 2});
  Codebook book(device(), s, zeros, {0.0f, 0.0f, 0.0f}, 0);
  book.codes.upload({9.0f, 7.0f, 9.0f, 9.0f, 8.0f, 9.0f});
  learn_codes(exec(), book.args(s, x_on.data(), index_on.data()));
  // eps is 5e-5 of the smaller count
  expect_close(book.codes.download(), {3.0, 7.0, -1.0, 4.0, 8.0, -2.0}, 0, 1e-4, "codes");
}

TEST_P(LearnCodesTest, ADifferentStepTakesOtherVectors) {
  const Sizes s{64, 1, 8};
  const auto x = random_values(s.rows, 10);
  const std::vector<float> zeros(8, 0.0f);
  std::vector<std::vector<float>> of_steps;
  for (const uint64_t step : {0, 1}) {
    StepState state;
    state.step = step;
    DeviceBuffer<StepState> state_on(device(), std::vector{state});
    DeviceBuffer<float> x_on(device(), x);
    Codebook book(device(), s, zeros, zeros, 0);
    LearnCodes<float> args = book.args(s, x_on.data(), nullptr);
    args.noise.state = state_on.data();
    begin_codes(exec(), args);
    of_steps.push_back(book.codes.download());
  }
  EXPECT_NE(of_steps[0], of_steps[1]);
}

TEST_P(LearnCodesTest, RepeatsInAnyOrderOfThreads) {
  const Sizes s{70, 34, 5};
  const auto x = random_values(s.rows * s.dim, 6), sums = random_values(s.dim * s.size, 7);
  const std::vector<float> counts = {2.0f, 0.1f, 1.0f, 0.0f, 3.0f};
  DeviceBuffer<float> x_on(device(), x);
  DeviceBuffer<int32_t> index_on(device(), uneven_index(s));
  for_each_order(device(), [&] {
    Codebook book(device(), s, sums, counts, 1);
    LearnCodes<float> args = book.args(s, x_on.data(), index_on.data());
    args.restart = 0.1f;
    learn_codes(exec(), args);
    return std::vector{book.codes.download(), book.sums.download(), book.counts.download()};
  });
}

TEST_P(LearnCodesTest, NothingToDoAndNothingToDoItWith) {
  expect_no_launch();
  learn_codes<float>(exec(), {.rows = 0, .dim = 3, .size = 2, .noise = {}});
  begin_codes<float>(exec(), {.rows = 0, .dim = 3, .size = 2, .noise = {}});
  EXPECT_EQ(
      error_of([&] { begin_codes<float>(exec(), {.rows = 1, .dim = 3, .size = 2, .noise = {}}); }),
      "1: begin_codes: x or a buffer of the codebook is null");
  const Sizes s{1, 1, 1};
  Codebook book(device(), s, {0.0f}, {0.0f}, 0);
  LearnCodes<float> args = book.args(s, book.codes.data(), nullptr);
  EXPECT_EQ(error_of([&] { learn_codes(exec(), args); }),
            "1: learn_codes: index or a result is null");
}

INSTANTIATE_TEST_SUITE_P(Devices, LearnCodesTest, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
