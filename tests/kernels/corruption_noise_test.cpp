// Corruptions that draw noise: its statistics, what it depends on, and which pixels it leaves alone.
#include <algorithm>
#include <set>

#include "tests/kernels/corruption_fixture.h"

namespace elbo {
namespace {

class CorruptionNoiseTest : public CorruptionTest {
 protected:
  static Corruption gaussian(float sigma, float mean = 0.0f) {
    return {.kind = CorruptionKind::gaussian, .sigma = sigma, .mean = mean};
  }
  static Corruption share_of(CorruptionKind kind, float share) {
    return {.kind = kind, .share = share};
  }
  static Corruption squares(int size, int count = 1) {
    return {.kind = CorruptionKind::square, .size = size, .count = count};
  }
  static std::vector<Corruption> one_of_each() {
    return {gaussian(0.3f), share_of(CorruptionKind::mask, 0.4f),
            share_of(CorruptionKind::salt_pepper, 0.4f), squares(2, 2)};
  }
};

TEST_P(CorruptionNoiseTest, GaussianNoiseHasItsMeanAndDeviationAndIsNotClipped) {
  Request r{.link = gaussian(0.5f, 0.1f), .image = {28, 28, 1}, .samples = first_samples(40)};
  r.constant = 0.25f;
  double sum = 0, squares = 0, fourth = 0;
  int64_t below = 0, above = 0;
  const std::vector<float> y = run(r);
  const auto n = static_cast<double>(y.size());
  for (const float v : y) {
    const double noise = v - 0.25;
    sum += noise;
    squares += (noise - 0.1) * (noise - 0.1);
    fourth += std::pow(noise - 0.1, 4);
    below += v < 0;
    above += v > 1;
  }
  // Four standard errors of 31,360 draws.
  EXPECT_NEAR(sum / n, 0.1, 4 * 0.5 / std::sqrt(n));
  EXPECT_NEAR(squares / n, 0.25, 4 * 0.25 * std::sqrt(2 / n));
  EXPECT_NEAR(fourth / (n * 0.0625), 3.0, 4 * std::sqrt(96 / n));  // kurtosis of a normal
  EXPECT_NEAR(static_cast<double>(below) / n, 0.2420, 0.01);       // Phi(-0.7)
  EXPECT_NEAR(static_cast<double>(above) / n, 0.0968, 0.01);       // Phi(-1.3)
  expect_bits_of_cpu(r, y);
}

TEST_P(CorruptionNoiseTest, AMaskClearsWholePixelsAndNoOthers) {
  for (const int64_t channels : {1, 3}) {
    Request r{.link = share_of(CorruptionKind::mask, 0.3f), .image = {9, 11, channels}};
    r.samples = first_samples(60);
    const std::vector<float> x = pattern(r), y = run(r);
    int64_t cleared = 0;
    for (size_t pixel = 0; pixel < y.size(); pixel += static_cast<size_t>(channels)) {
      const bool gone = y[pixel] == 0.0f;
      cleared += gone;
      for (size_t c = 0; c < static_cast<size_t>(channels); ++c) {
        ASSERT_EQ(y[pixel + c], gone ? 0.0f : x[pixel + c]) << pixel << " of " << channels;
      }
    }
    const double n = static_cast<double>(y.size()) / static_cast<double>(channels);
    EXPECT_NEAR(static_cast<double>(cleared) / n, 0.3, 4 * std::sqrt(0.3 * 0.7 / n));
    expect_bits_of_cpu(r, y);
  }
}

TEST_P(CorruptionNoiseTest, SaltAndPepperAreEquallyFrequent) {
  Request r{.link = share_of(CorruptionKind::salt_pepper, 0.2f), .image = {10, 10, 3}};
  r.samples = first_samples(80);
  const std::vector<float> x = pattern(r), y = run(r);
  double black = 0, white = 0;
  for (size_t i = 0; i < y.size(); i += 3) {
    for (size_t c = 1; c < 3; ++c) {
      ASSERT_EQ(y[i + c] == 0.0f, y[i] == 0.0f);
      ASSERT_EQ(y[i + c] == 1.0f, y[i] == 1.0f);
    }
    black += y[i] == 0.0f;
    white += y[i] == 1.0f;
    ASSERT_TRUE(y[i] == 0.0f || y[i] == 1.0f || y[i] == x[i]) << i;
  }
  const double n = static_cast<double>(y.size()) / 3;
  EXPECT_NEAR(black / n, 0.1, 4 * std::sqrt(0.1 * 0.9 / n));
  EXPECT_NEAR(white / n, 0.1, 4 * std::sqrt(0.1 * 0.9 / n));
  expect_bits_of_cpu(r, y);
}

TEST_P(CorruptionNoiseTest, SharesOfNothingAndEverythingAreExact) {
  for (const auto kind : {CorruptionKind::mask, CorruptionKind::salt_pepper}) {
    Request r{.link = share_of(kind, 0.0f)};
    EXPECT_EQ(run(r), pattern(r));
    r.link.share = 1.0f;
    for (const float v : run(r)) {
      ASSERT_TRUE(v == 0.0f || (kind == CorruptionKind::salt_pepper && v == 1.0f)) << v;
    }
  }
}

// Where the zeros of an image of ones stand: top, left, and whether they are one full square.
struct Found {
  int64_t top = -1, left = -1;
  bool whole = false;
};
Found find_square(const float* image, int64_t height, int64_t width, int64_t size) {
  Found found;
  int64_t zeros = 0;
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      if (image[y * width + x] != 0.0f) continue;
      if (found.top < 0) found = {y, x, false};
      const bool inside = y - found.top < size && x >= found.left && x - found.left < size;
      zeros += inside ? 1 : size * size + 1;
    }
  }
  found.whole = zeros == size * size;
  return found;
}

TEST_P(CorruptionNoiseTest, EveryPlaceOfASquareIsEquallyLikely) {
  // 4 x 3 places in 6 x 5 pixels.
  Request r{.link = squares(3), .image = {6, 5, 1}, .samples = first_samples(1200)};
  r.constant = 1.0f;
  const std::vector<float> y = run(r);
  int64_t seen[4][3] = {};
  for (size_t i = 0; i < r.samples.size(); ++i) {
    const Found found = find_square(y.data() + i * 30, 6, 5, 3);
    ASSERT_TRUE(found.whole) << "sample " << i;
    ++seen[found.top][found.left];
  }
  double chi_square = 0;
  for (const auto& line : seen) {
    for (const int64_t count : line) chi_square += std::pow(count - 100.0, 2) / 100.0;
  }
  EXPECT_LT(chi_square, 31.3);  // 11 degrees of freedom: exceeded once in 1000 seeds
  expect_bits_of_cpu(r, y);
}

TEST_P(CorruptionNoiseTest, SquaresOfAnySizeStayInsideAndKeepTheRest) {
  Request whole{.link = squares(5), .image = {5, 5, 3}};
  for (const float v : run(whole)) ASSERT_EQ(v, 0.0f);
  Request several{.link = squares(2, 3), .image = {8, 13, 3}, .samples = first_samples(50)};
  const std::vector<float> x = pattern(several), y = run(several);
  std::set<int64_t> counts;
  for (size_t i = 0; i < several.samples.size(); ++i) {
    int64_t cleared = 0;
    for (size_t d = i * 312; d < (i + 1) * 312; ++d) {
      ASSERT_TRUE(y[d] == 0.0f || y[d] == x[d]) << d;
      cleared += y[d] == 0.0f;
    }
    ASSERT_EQ(cleared % 3, 0);
    counts.insert(cleared / 3);
  }
  EXPECT_EQ(*counts.rbegin(), 12);  // three apart from each other
  EXPECT_GE(*counts.begin(), 4);
  EXPECT_GT(counts.size(), 2u);  // and some that overlap
  expect_bits_of_cpu(several, y);
}

TEST_P(CorruptionNoiseTest, NoiseBelongsToTheSampleNotToItsRowOrBatch) {
  for (const Corruption& link : one_of_each()) {
    for (const int64_t step : {int64_t{-1}, int64_t{0}, int64_t{7}}) {
      Request r{.link = link, .samples = {4, 9, 2, 9}};
      r.step = step;
      const std::vector<float> all = run(r);
      const auto row = [&](const std::vector<float>& y, size_t i) {
        return std::vector<float>(y.begin() + static_cast<long>(i) * 35,
                                  y.begin() + static_cast<long>(i + 1) * 35);
      };
      EXPECT_EQ(row(all, 1), row(all, 3));
      r.samples = {2};
      EXPECT_EQ(run(r), row(all, 2));
      r.shift = 1;
      EXPECT_EQ(run(r), row(all, 2));
      r.in_place = true;
      EXPECT_EQ(run(r), row(all, 2));
    }
  }
}

TEST_P(CorruptionNoiseTest, StepSeedLinkAndEvaluationHaveNoiseOfTheirOwn) {
  for (const Corruption& link : one_of_each()) {
    Request r{.link = link, .image = {16, 16, 1}};
    std::set<std::string> seen = {bytes_of(run(r))};
    r.step = 0;
    seen.insert(bytes_of(run(r)));
    r.step = 1;
    seen.insert(bytes_of(run(r)));
    r.number = 1;
    seen.insert(bytes_of(run(r)));
    r.seed = 43;
    seen.insert(bytes_of(run(r)));
    EXPECT_EQ(seen.size(), 5u);
  }
}

TEST_P(CorruptionNoiseTest, AnEmptyBatchIsNothingToDo) {
  expect_no_launch();
  for (const Corruption& link : one_of_each()) {
    EXPECT_TRUE(run({.link = link, .samples = {}}).empty());
  }
}

TEST_P(CorruptionNoiseTest, RefusesWhatDoesNotFit) {
  expect_no_launch();
  EXPECT_EQ(error_of([&] { run({.link = squares(6)}); }),
            "1: corrupt: squares of 6 x 6 do not fit into 7 x 5 pixels");
  EXPECT_EQ(error_of([&] { run({.link = share_of(CorruptionKind::mask, 1.5f)}); }),
            "1: corrupt: a share of 1.5 of all pixels");
  EXPECT_EQ(error_of([&] { run({.link = gaussian(std::nanf(""))}); }),
            "1: corrupt: noise of deviation nan");
  Corrupt args;
  args.batch = 1;
  EXPECT_EQ(error_of([&] { corrupt(exec(), args); }), "1: corrupt: x is null");
}

INSTANTIATE_TEST_SUITE_P(Devices, CorruptionNoiseTest, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
