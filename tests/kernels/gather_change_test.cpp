// Flipping and dequantisation in the gather.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/gather.h"
#include "kernels/noise.h"
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

struct Request {
  int64_t samples = 40, height = 5, width = 4, channels = 3, batch = 24;
  bool flip = true, dequantise = false, has_state = true, shuffle = true;
  Binarise binarise = Binarise::none;
  uint64_t step = 3;
  size_t shift = 0;
  int64_t dim() const { return height * width * channels; }
};

struct Batch {
  std::vector<float> x;
  std::vector<int32_t> index;
};

class GatherChangeTest : public DeviceTest {
 protected:
  Batch run(Device where, const Exec& e, const Request& r) {
    const auto rows = static_cast<size_t>(r.batch);
    StepState at;
    at.step = r.step;
    DeviceBuffer<uint8_t> data(where, pixels(r.samples * r.dim()), r.shift);
    DeviceBuffer<float> x(where, rows * static_cast<size_t>(r.dim()), r.shift);
    DeviceBuffer<bf16> rounded(where, x.size());
    DeviceBuffer<int32_t> index(where, rows);
    DeviceBuffer<StepState> state(where, std::vector<StepState>{at});
    Gather args;
    args.data = data.data();
    args.dim = r.dim();
    args.batch = r.batch;
    args.order = {7, r.has_state ? state.data() : nullptr, r.samples, r.shuffle, 0};
    args.binarise = r.binarise;
    args.dequantise = r.dequantise;
    args.flip = r.flip;
    args.width = r.width;
    args.channels = r.channels;
    args.x = x.data();
    args.x_bf16 = rounded.data();
    args.index = index.data();
    gather(e, args);
    EXPECT_EQ(bits_of(rounded.download()), bits_of_rounded(x.download()));
    return {x.download(), index.download()};
  }
  Batch run(const Request& r) { return run(device(), exec(), r); }

  // Stored value of pixel (y, x, c) of a sample.
  static uint8_t stored(const std::vector<uint8_t>& data, const Request& r, int64_t sample,
                        int64_t y, int64_t x, int64_t c) {
    return data[static_cast<size_t>(sample * r.dim() + (y * r.width + x) * r.channels + c)];
  }
  // Whether a row is its sample mirrored; fails unless it is that or the sample as it is.
  static bool is_mirrored(const Batch& batch, const Request& r, int64_t row) {
    const auto data = pixels(r.samples * r.dim());
    bool same = true, mirrored = true;
    for (int64_t y = 0; y < r.height; ++y) {
      for (int64_t x = 0; x < r.width; ++x) {
        for (int64_t c = 0; c < r.channels; ++c) {
          const auto d = static_cast<size_t>(row * r.dim() + (y * r.width + x) * r.channels + c);
          const int64_t sample = batch.index[static_cast<size_t>(row)];
          same = same && batch.x[d] == stored(data, r, sample, y, x, c) / 255.0f;
          mirrored =
              mirrored && batch.x[d] == stored(data, r, sample, y, r.width - 1 - x, c) / 255.0f;
        }
      }
    }
    EXPECT_NE(same, mirrored) << "row " << row;
    return mirrored;
  }
};

TEST_P(GatherChangeTest, HalfOfTheImagesAreMirroredLeftToRight) {
  int64_t mirrored = 0, rows = 0;
  for (const auto& [height, width, channels] :
       {std::tuple{5, 4, 3}, {4, 7, 1}, {1, 9, 4}, {3, 2, 2}, {20, 18, 3}}) {
    Request r;
    r.height = height, r.width = width, r.channels = channels;
    for (uint64_t step = 0; step < 8; ++step) {
      r.step = step;
      const Batch batch = run(r);
      for (int64_t row = 0; row < r.batch; ++row, ++rows)
        mirrored += is_mirrored(batch, r, row) ? 1 : 0;
    }
  }
  EXPECT_NEAR(static_cast<double>(mirrored) / static_cast<double>(rows), 0.5, 0.1);  // 6 sigma
}

TEST_P(GatherChangeTest, WhichImagesIsDrawnAfreshEachStepAndDoesNotDependOnTheBatch) {
  Request r;
  const Batch all = run(r);
  EXPECT_EQ(run(r).x, all.x);
  r.step = 4;
  EXPECT_NE(run(r).x, all.x);
  r.step = 3;
  r.batch = 5;
  EXPECT_EQ(run(r).x, std::vector<float>(all.x.begin(), all.x.begin() + 5 * r.dim()));
}

TEST_P(GatherChangeTest, EvaluationNeverFlips) {
  Request r;
  r.has_state = false;
  const Batch batch = run(r);
  for (int64_t row = 0; row < r.batch; ++row) EXPECT_FALSE(is_mirrored(batch, r, row));
}

TEST_P(GatherChangeTest, DequantisedPixelsLieBetweenTheirByteAndTheNext) {
  Request r;
  r.flip = false;
  r.dequantise = true;
  const auto data = pixels(r.samples * r.dim());
  double sum = 0, squares = 0;
  for (uint64_t step = 0; step < 4; ++step) {
    r.step = step;
    const Batch batch = run(r);
    for (size_t i = 0; i < batch.x.size(); ++i) {
      const auto sample = static_cast<size_t>(batch.index[i / static_cast<size_t>(r.dim())]);
      const size_t d = i % static_cast<size_t>(r.dim());
      const uint8_t byte = data[sample * static_cast<size_t>(r.dim()) + d];
      const NoiseAddress at{NoisePurpose::dequantise, step, static_cast<uint32_t>(sample), 0};
      const double u = std::floor(uniform1(NoiseKey{7}, at, d) * 65536.0) / 65536.0;
      ASSERT_EQ(batch.x[i], (byte + u) / 256) << "exact in double, hence in float";
      ASSERT_LT(batch.x[i], 1.0f);
      ASSERT_EQ(std::floor(batch.x[i] * 256.0f), byte) << "nothing is lost";
      sum += u;
      squares += u * u;
    }
  }
  const double n = 4.0 * static_cast<double>(r.batch * r.dim());
  EXPECT_NEAR(sum / n, 0.5, 6 * std::sqrt(1.0 / 12 / n));
  EXPECT_NEAR(squares / n, 1.0 / 3, 6 * std::sqrt(4.0 / 45 / n));
}

TEST_P(GatherChangeTest, NoiseStandsInPlaceWhetherFlippedOrNot) {
  Request r;
  r.dequantise = true;
  const Batch batch = run(r);
  r.flip = false;
  const Batch plain = run(r);
  ASSERT_EQ(batch.index, plain.index);
  const auto fraction = [](float x) { return x * 256.0f - std::floor(x * 256.0f); };
  EXPECT_NE(batch.x, plain.x);
  for (size_t i = 0; i < batch.x.size(); ++i)
    ASSERT_EQ(fraction(batch.x[i]), fraction(plain.x[i])) << i;
}

TEST_P(GatherChangeTest, DeviceAlignmentAndThreadOrderDoNotChangeABit) {
  const auto host = make_exec(Device::cpu);
  for (const bool dequantise : {false, true}) {
    for (const Binarise kind : {Binarise::none, Binarise::dynamic}) {
      if (dequantise && kind != Binarise::none) continue;
      for (const int64_t height : {5, 100}) {  // 60 and 1200 pixels: less and more than a block's
        Request r;
        r.height = height, r.dequantise = dequantise, r.binarise = kind, r.batch = 6;
        const Batch on_cpu = run(Device::cpu, host->exec(), r);
        for_each_order(device(), [&] { return run(r).x; });
        EXPECT_EQ(run(r).x, on_cpu.x);
        r.shift = 1;
        EXPECT_EQ(run(r).x, on_cpu.x);
      }
    }
  }
}

TEST_P(GatherChangeTest, RefusesWhatItCannotDo) {
  expect_no_launch();
  DeviceBuffer<uint8_t> data(device(), 24);
  DeviceBuffer<float> x(device(), 24);
  Gather args;
  args.data = data.data(), args.x = x.data(), args.dim = 12, args.batch = 2;
  args.order.samples = 2;
  args.flip = true;
  const auto refusal = [&] { return error_of([&] { gather(exec(), args); }); };
  EXPECT_EQ(refusal(), "1: gather: cannot flip images of 12 values as lines of 0 x 0");
  args.width = 5, args.channels = 1;
  EXPECT_EQ(refusal(), "1: gather: cannot flip images of 12 values as lines of 5 x 1");
  args.width = 4;
  args.dequantise = true;
  args.binarise = Binarise::threshold;
  EXPECT_EQ(refusal(), "1: gather: pixels are binarised or dequantised, not both");
}

INSTANTIATE_TEST_SUITE_P(Devices, GatherChangeTest, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
