#include "kernels/gather.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <string>
#include <tuple>
#include <vector>

#include "tests/kernels/state_at.h"
#include "tests/support/device.h"
#include "tests/support/error_of.h"
#include "tests/support/values.h"

namespace elbo {
namespace {

std::vector<uint8_t> pixels(int64_t count) {
  std::vector<uint8_t> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<uint8_t>(i * 37 + i / 251);
  return values;
}

class GatherTest : public DeviceTest {
 protected:
  struct Batch {
    std::vector<float> x;
    std::vector<int32_t> index, label;
    std::vector<float> attributes;
  };

  struct Request {
    int64_t samples = 50, dim = 12, batch = 8;
    Binarise binarise = Binarise::none;
    uint64_t seed = 42;
    bool shuffle = false;
    bool has_state = true;
    StepState state = {};
    int64_t first = 0;
    size_t data_shift = 0, x_shift = 0;
    int64_t attributes = 0;
    bool flip = false;
  };

  static float attribute_of(int64_t sample, int64_t k) {
    return static_cast<float>(sample) - 0.25f * static_cast<float>(k * k);
  }

  static uint8_t label_of(int64_t sample) { return static_cast<uint8_t>(sample * 3 % 10); }

  Batch run(Device where, const Exec& e, const Request& r) {
    std::vector<uint8_t> labels;
    for (int64_t i = 0; i < r.samples; ++i) labels.push_back(label_of(i));
    const auto rows = static_cast<size_t>(r.batch);
    DeviceBuffer<uint8_t> data(where, pixels(r.samples * r.dim), r.data_shift),
        dlabels(where, labels);
    DeviceBuffer<float> x(where, rows * static_cast<size_t>(r.dim), r.x_shift);
    DeviceBuffer<bf16> rounded(where, x.size());
    DeviceBuffer<int32_t> index(where, rows), label(where, rows);
    DeviceBuffer<StepState> state(where, std::vector<StepState>{r.state});
    std::vector<float> numbers;
    for (int64_t i = 0; i < r.samples * r.attributes; ++i)
      numbers.push_back(attribute_of(i / r.attributes, i % r.attributes));
    DeviceBuffer<float> known(where, numbers);
    DeviceBuffer<float> told(where, rows * static_cast<size_t>(r.attributes));
    Gather args;
    if (r.attributes > 0) args.attributes = known.data(), args.attribute_out = told.data();
    args.attribute_count = r.attributes;
    args.flip = r.flip;
    args.width = 4;
    args.channels = 1;
    args.data = data.data();
    args.dim = r.dim;
    args.batch = r.batch;
    args.order = {r.seed, r.has_state ? state.data() : nullptr, r.samples, r.shuffle, r.first};
    args.binarise = r.binarise;
    args.x = x.data();
    args.x_bf16 = rounded.data();
    args.index = index.data();
    args.labels = dlabels.data();
    args.label_out = label.data();
    gather(e, args);
    EXPECT_EQ(bits_of(rounded.download()), bits_of_rounded(x.download()));
    return {x.download(), index.download(), label.download(), told.download()};
  }
  Batch run(const Request& r) { return run(device(), exec(), r); }
};

TEST_P(GatherTest, RowsAreTheSamplesOfTheOrder) {
  // 1028 pixels are one quad more than a block has threads.
  for (const int64_t dim : {1, 3, 4, 31, 32, 33, 257, 784, 1028, 3073}) {
    for (const size_t shift : {0, 1, 2, 3}) {
      for (const Binarise kind : {Binarise::none, Binarise::threshold}) {
        Request r{.dim = dim, .batch = 9, .binarise = kind, .state = state_at(3, 1, 20)};
        r.data_shift = shift & 1;
        r.x_shift = shift & 2;
        const Batch batch = run(r);
        const auto data = pixels(r.samples * dim);
        for (int64_t b = 0; b < r.batch; ++b) {
          const int64_t sample = 20 + b;
          EXPECT_EQ(batch.index[static_cast<size_t>(b)], sample);
          EXPECT_EQ(batch.label[static_cast<size_t>(b)], label_of(sample));
          for (int64_t d = 0; d < dim; ++d) {
            const uint8_t v = data[static_cast<size_t>(sample * dim + d)];
            const float want = kind == Binarise::none ? static_cast<float>(v) / 255.0f : v >= 128;
            ASSERT_EQ(batch.x[static_cast<size_t>(b * dim + d)], want)
                << "row " << b << " pixel " << d << " of " << dim;
          }
        }
      }
    }
  }
}

// More attributes than a block has threads, more rows than blocks; every path through the kernel.
TEST_P(GatherTest, AttributesAreThoseOfTheSamples) {
  for (const auto& [attributes, dim, flip] :
       {std::tuple{1, 12, false}, {5, 784, false}, {300, 8, false}, {7, 7, false}, {3, 16, true}}) {
    for (const Binarise kind : {Binarise::none, Binarise::dynamic}) {
      Request r{.dim = dim, .batch = 9, .binarise = kind, .shuffle = true};
      r.state = state_at(3, 1, 20);
      r.attributes = attributes;
      r.flip = flip;
      const Batch batch = run(r);
      ASSERT_EQ(std::ssize(batch.attributes), 9 * attributes);
      for (int64_t b = 0; b < 9; ++b) {
        for (int64_t k = 0; k < attributes; ++k) {
          ASSERT_EQ(batch.attributes[static_cast<size_t>(b * attributes + k)],
                    attribute_of(batch.index[static_cast<size_t>(b)], k))
              << "row " << b << ", attribute " << k << " of " << attributes;
        }
      }
    }
  }
  Request large{.samples = 1500, .dim = 4, .batch = 1500};
  large.attributes = 2;
  const Batch batch = run(large);
  for (int64_t i = 0; i < 3000; ++i)
    ASSERT_EQ(batch.attributes[static_cast<size_t>(i)], attribute_of(i / 2, i % 2)) << i;
}

TEST_P(GatherTest, WithoutAStateItStartsAtFirstAndWrapsAtTheEnd) {
  const Batch batch = run({.samples = 10, .batch = 4, .has_state = false, .first = 8});
  EXPECT_EQ(batch.index, (std::vector<int32_t>{8, 9, 0, 1}));
}

TEST_P(GatherTest, ALargeBatchGivesBlocksSeveralRows) {
  const Batch batch = run({.samples = 1500, .dim = 4, .batch = 1500});
  std::vector<int32_t> all(1500);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(batch.index, all);
  const auto data = pixels(1500 * 4);
  for (size_t i = 0; i < data.size(); ++i) ASSERT_EQ(batch.x[i], data[i] / 255.0f) << i;
}

TEST_P(GatherTest, AnEpochVisitsEverySampleOnceTailBatchIncluded) {
  for (const int64_t samples : {1, 2, 33, 250}) {
    for (const uint64_t epoch : {0, 1}) {
      std::vector<int32_t> seen;
      for (int64_t position = 0; position < samples; position += 32) {
        Request r{.samples = samples, .dim = 4, .batch = std::min<int64_t>(32, samples - position)};
        r.shuffle = true;
        r.state = state_at(0, epoch, static_cast<uint64_t>(position));
        const auto index = run(r).index;
        seen.insert(seen.end(), index.begin(), index.end());
      }
      std::sort(seen.begin(), seen.end());
      std::vector<int32_t> all(static_cast<size_t>(samples));
      std::iota(all.begin(), all.end(), 0);
      EXPECT_EQ(seen, all) << samples << " samples, epoch " << epoch;
    }
  }
}

TEST_P(GatherTest, EpochAndSeedChangeTheOrderAndNothingElseDoes) {
  const Request base{.samples = 50, .batch = 50, .shuffle = true, .state = state_at(7, 1, 0)};
  const auto order = run(base).index;
  Request other = base;
  other.state.step = 8;
  EXPECT_EQ(run(other).index, order);
  other = base;
  other.state.epoch = 2;
  EXPECT_NE(run(other).index, order);
  other = base;
  other.seed = 43;
  EXPECT_NE(run(other).index, order);
}

TEST_P(GatherTest, DynamicPixelsAreBernoulliOfTheGreyValue) {
  // 256 steps of one sample whose pixels hold every 4th grey value.
  constexpr int kSteps = 256;
  Request r{.samples = 3, .dim = 67, .batch = 3, .binarise = Binarise::dynamic};
  const auto data = pixels(r.samples * r.dim);
  std::vector<double> ones(data.size());
  for (int step = 0; step < kSteps; ++step) {
    r.state = state_at(static_cast<uint64_t>(step), 0, 0);
    const auto x = run(r).x;
    for (size_t i = 0; i < x.size(); ++i) {
      ASSERT_TRUE(x[i] == 0.0f || x[i] == 1.0f);
      ones[i] += x[i];
    }
  }
  double chi_square = 0.0;
  int grey = 0;
  for (size_t i = 0; i < data.size(); ++i) {
    const double p = data[i] / 255.0;
    if (data[i] == 0 || data[i] == 255) {
      EXPECT_EQ(ones[i], p * kSteps) << "black and white pixels are certain";
      continue;
    }
    const double z = (ones[i] - kSteps * p) / std::sqrt(kSteps * p * (1.0 - p));
    EXPECT_LT(std::abs(z), 6.0) << "pixel " << i << ", grey " << int{data[i]};
    chi_square += z * z;
    ++grey;
  }
  // Mean 1 per pixel with standard deviation sqrt(2/n): 5 of those.
  EXPECT_NEAR(chi_square / grey, 1.0, 5.0 * std::sqrt(2.0 / grey));
}

TEST_P(GatherTest, DrawsDependOnSampleAndStepNotOnTheBatch) {
  Request whole{.samples = 40, .dim = 33, .batch = 40, .binarise = Binarise::dynamic};
  whole.shuffle = true;
  whole.state = state_at(5, 2, 0);
  const Batch all = run(whole);
  Request part = whole;
  part.batch = 7;
  part.state.position = 30;
  const Batch some = run(part);
  EXPECT_EQ(some.x, std::vector<float>(all.x.begin() + 30 * 33, all.x.begin() + 37 * 33));

  Request later = whole;
  later.state.step = 6;
  EXPECT_NE(run(later).x, all.x) << "each step draws afresh";
  later.state.step = 5;
  later.seed = 43;
  later.shuffle = false;
  EXPECT_NE(run(later).x, all.x);
  Request evaluation = whole;
  evaluation.has_state = false;
  EXPECT_EQ(run(evaluation).x, run(evaluation).x) << "without a state draws are fixed";
}

TEST_P(GatherTest, DeviceAlignmentAndThreadOrderDoNotChangeABit) {
  const auto host = make_exec(Device::cpu);
  for (const Binarise kind : {Binarise::none, Binarise::threshold, Binarise::dynamic}) {
    for (const int64_t dim : {36, 35}) {
      Request r{.samples = 20, .dim = dim, .batch = 11, .binarise = kind, .shuffle = true};
      r.state = state_at(9, 3, 5);
      const Batch on_cpu = run(Device::cpu, host->exec(), r);
      for_each_order(device(), [&] { return run(r).x; });
      EXPECT_EQ(run(r).x, on_cpu.x);
      EXPECT_EQ(run(r).index, on_cpu.index);
      r.data_shift = r.x_shift = 1;
      EXPECT_EQ(run(r).x, on_cpu.x);
    }
  }
}

TEST_P(GatherTest, RefusesWhatItCannotDo) {
  expect_no_launch();
  DeviceBuffer<uint8_t> data(device(), 8);
  DeviceBuffer<float> x(device(), 8);
  Gather args;
  gather(exec(), args);  // an empty batch
  args.dim = 4, args.batch = 2, args.data = data.data();
  EXPECT_EQ(error_of([&] { gather(exec(), args); }), "1: gather: x is null");
  args.x = x.data();
  EXPECT_EQ(error_of([&] { gather(exec(), args); }),
            "1: gather: the data set has 0 samples; needs 1 to 2^31 - 1");
  args.order.samples = 2;
  args.labels = data.data();
  EXPECT_EQ(error_of([&] { gather(exec(), args); }),
            "1: gather: labels given but label_out is null");
  args.labels = nullptr;
  args.attribute_count = 2;
  EXPECT_EQ(error_of([&] { gather(exec(), args); }),
            "1: gather: 2 attributes, but attributes is null");
  args.attributes = x.data();
  EXPECT_EQ(error_of([&] { gather(exec(), args); }),
            "1: gather: 2 attributes, but attribute_out is null");
}

INSTANTIATE_TEST_SUITE_P(Devices, GatherTest, testing::ValuesIn(available_devices()), device_name);

}  // namespace
}  // namespace elbo
