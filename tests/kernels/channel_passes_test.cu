// The loop patterns of kernels/channel_passes.h, with functors that show where they were called.
#include "kernels/channel_passes.h"
#include "kernels/error.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "kernels/math.h"
#include "tests/support/device.h"
#include "tests/support/values.h"

namespace elbo {
namespace {

// Around vectors, tiles of channels, strips, runs of rows and parts of a grid.
const std::vector<ChannelLayout> kLayouts = {{1, 1, 1},   {3, 5, 7},    {2, 9, 33},  {1, 2000, 3},
                                             {1, 600, 4}, {2, 1, 130},  {70, 3, 8},  {2, 700, 64},
                                             {1, 0, 5},   {3, 65, 260}, {1, 40, 520}};

std::string name_of(const ChannelLayout& at) {
  return concat("[", at.segments, ", ", at.rows, ", ", at.channels, "]");
}

double factor_of(int64_t segment, int64_t channel) {
  return static_cast<double>(segment % 5 + 2 * (channel % 7)) - 6;
}

// A channel's factor comes from memory, as that of a layer does.
template <class T>
struct WithFactor {
  using R = Compute<T>;
  struct Channel {
    R factor;
  };
  const R* factors;
  int64_t channels;

  ELBO_HD Channel channel(int64_t segment, int64_t channel) const {
    return {factors[segment * channels + channel]};
  }
};

// y0 = x0 + factor x1, y1 = x0 - x1: which input, which element, which channel.
template <class T>
struct Mix : WithFactor<T> {
  using R = Compute<T>;
  using Channel = typename WithFactor<T>::Channel;

  ELBO_HD void operator()(const Channel& k, const R* x, R* y) const {
    y[0] = math::fma(k.factor, x[1], x[0]);
    y[1] = x[0] - x[1];
  }
};

// The sum of factor x0 and the mean of x1, which wants the counts of rows to be right.
template <class T>
struct SumAndMean : WithFactor<T> {
  using R = Compute<T>;
  using Channel = typename WithFactor<T>::Channel;
  R *sum, *mean, *visits;

  ELBO_HD void operator()(const Channel& k, const R* x, R inv_n, ChannelPair<R>& pair) const {
    pair.first = math::fma(k.factor, x[0], pair.first);
    pair.second = math::fma(x[1] - pair.second, inv_n, pair.second);
  }
  ELBO_HD static void combine(ChannelPair<R>& to, R n, const ChannelPair<R>& from, R m) {
    to.first += from.first;
    to.second = math::fma(from.second - to.second, m / (n + m), to.second);
  }
  ELBO_HD void finish(int64_t segment, int64_t channel, const ChannelPair<R>& pair) const {
    const int64_t i = segment * this->channels + channel;
    sum[i] = pair.first;
    mean[i] = pair.second;
    visits[i] += R(1);
  }
};

class ChannelPassesTest : public DeviceTest {
 protected:
  template <class R>
  std::vector<R> factors(const ChannelLayout& at) {
    std::vector<R> values;
    for (int64_t i = 0; i < at.segments * at.channels; ++i) {
      values.push_back(static_cast<R>(factor_of(i / at.channels, i % at.channels)));
    }
    return values;
  }

  template <class T>
  void check_map(const ChannelLayout& at, size_t shift) {
    const auto a = random_values<T>(at.size(), 1), b = random_values<T>(at.size(), 2);
    DeviceBuffer<T> dev_a(device(), a, shift), dev_b(device(), b, shift),
        sum(device(), a.size(), shift), difference(device(), a.size(), shift);
    DeviceBuffer<Compute<T>> dev_factors(device(), factors<Compute<T>>(at));
    channel_map(exec(), at, Mix<T>{{dev_factors.data(), at.channels}},
                PointerPack<const T, 2>{{dev_a.data(), dev_b.data()}},
                PointerPack{sum.data(), difference.data()});
    std::vector<double> want_sum, want_difference;
    for (int64_t i = 0; i < at.size(); ++i) {
      const double x0 = to_float(a[i]), x1 = to_float(b[i]);
      const int64_t channel = i % at.channels, segment = i / at.channels / at.rows;
      want_sum.push_back(x0 + factor_of(segment, channel) * x1);
      want_difference.push_back(x0 - x1);
    }
    const double rounding = std::is_same_v<T, bf16> ? 0x1p-8 : 1e-6;
    expect_close(sum.download(), want_sum, 2e-6, rounding, name_of(at));
    expect_close(difference.download(), want_difference, 2e-6, rounding, name_of(at));
  }

  template <class R>
  struct Sums {
    std::vector<R> sum, mean, visits;
  };

  template <class T>
  Sums<Compute<T>> reduce(const ChannelLayout& at, const std::vector<T>& a, const std::vector<T>& b,
                          size_t shift = 0, size_t scratch_bytes = 0) {
    Exec on = exec();
    if (scratch_bytes > 0) on.scratch.bytes = scratch_bytes;
    using R = Compute<T>;
    const auto n = static_cast<size_t>(at.segments * at.channels);
    DeviceBuffer<T> dev_a(device(), a, shift), dev_b(device(), b, shift);
    DeviceBuffer<R> dev_factors(device(), factors<R>(at)), sum(device(), n), mean(device(), n),
        visits(device(), std::vector<R>(n, 0));
    SumAndMean<T> f;
    f.factors = dev_factors.data();
    f.channels = at.channels;
    f.sum = sum.data();
    f.mean = mean.data();
    f.visits = visits.data();
    channel_reduce(on, at, f, PointerPack<const T, 2>{{dev_a.data(), dev_b.data()}});
    return {sum.download(), mean.download(), visits.download()};
  }

  template <class T>
  void check_reduce(const ChannelLayout& at, size_t shift) {
    const auto a = random_values<T>(at.size(), 3), b = random_values<T>(at.size(), 4);
    const auto got = reduce(at, a, b, shift);
    const auto n = static_cast<size_t>(at.segments * at.channels);
    std::vector<double> sum(n), mean(n);
    double largest = 1;
    for (int64_t i = 0; i < at.size(); ++i) {
      const int64_t channel = i % at.channels, segment = i / at.channels / at.rows;
      const int64_t out = segment * at.channels + channel;
      sum[out] += factor_of(segment, channel) * to_float(a[i]);
      mean[out] += to_float(b[i]) / static_cast<double>(at.rows);
      largest = std::max(largest, std::abs(sum[out]));
    }
    // fp32 sums of up to 2000 terms of up to 16.
    expect_close(got.sum, sum, 5e-6 * largest, 0, concat("sum ", name_of(at)));
    expect_close(got.mean, mean, 2e-6, 0, concat("mean ", name_of(at)));
    for (const auto visits : got.visits) ASSERT_EQ(visits, 1) << name_of(at);
  }
};

TEST_P(ChannelPassesTest, MapVisitsEveryElementOnceWithItsChannel) {
  for (const ChannelLayout& at : kLayouts) {
    for (const size_t shift : {0u, 1u}) {
      check_map<float>(at, shift);
      check_map<bf16>(at, shift);
    }
    if (device() == Device::cpu) check_map<double>(at, 0);
  }
}

TEST_P(ChannelPassesTest, ReduceJoinsEveryRowOfAChannel) {
  for (const ChannelLayout& at : kLayouts) {
    for (const size_t shift : {0u, 1u}) {
      check_reduce<float>(at, shift);
      check_reduce<bf16>(at, shift);
    }
    if (device() == Device::cpu) check_reduce<double>(at, 0);
  }
}

// More segments than a grid has layers, which then take several.
TEST_P(ChannelPassesTest, ReachEverySegment) {
  check_map<float>({1030, 1, 1}, 0);
  check_reduce<float>({1030, 1, 1}, 0);
}

TEST_P(ChannelPassesTest, ReduceRepeatsBitForBit) {
  for (const ChannelLayout& at : {ChannelLayout{2, 700, 12}, ChannelLayout{3, 50, 5}}) {
    const auto a = random_values<float>(at.size(), 5), b = random_values<float>(at.size(), 6);
    for_each_order(device(), [&] {
      const auto got = reduce(at, a, b);
      return std::vector{got.sum, got.mean};
    });
  }
}

TEST_P(ChannelPassesTest, NothingToDoLaunchesNothing) {
  expect_no_launch();
  for (const ChannelLayout& at : {ChannelLayout{0, 3, 4}, ChannelLayout{2, 3, 0}}) {
    check_map<float>(at, 0);
    check_reduce<float>(at, 0);
  }
  check_map<float>({2, 0, 4}, 0);
}

TEST_P(ChannelPassesTest, TakesTheScratchThatItSaysAndNoLess) {
  const ChannelLayout at{1, 2000, 3};  // in several parts
  const auto a = random_values<float>(at.size(), 3), b = random_values<float>(at.size(), 4);
  const auto want = reduce(at, a, b), got = reduce(at, a, b, 0, kChannelPartialBytes);
  EXPECT_EQ(got.sum, want.sum);
  EXPECT_THROW(reduce(at, a, b, 0, kChannelPartialBytes - 1), Error);
}

INSTANTIATE_TEST_SUITE_P(Devices, ChannelPassesTest, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
