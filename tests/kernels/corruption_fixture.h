// Corrupting a few images of a known pattern on a device.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <numeric>
#include <vector>

#include "kernels/corruption.h"
#include "tests/support/device.h"
#include "tests/support/error_of.h"
#include "tests/support/values.h"

namespace elbo {

class CorruptionTest : public DeviceTest {
 protected:
  struct Request {
    Corruption link;
    ImageSize image{7, 5, 1};
    std::vector<int32_t> samples = {0, 1, 2};
    int64_t step = -1;  // -1: no state
    uint32_t number = 0;
    uint64_t seed = 42;
    float constant = -1.0f;  // of all pixels; negative: a pattern
    size_t shift = 0;        // elements of misalignment
    bool in_place = false;
  };

  // Values in [1/8, 7/8], so that a pixel that was set to 0 or 1 can be told. Of a sample, not a row.
  static std::vector<float> pattern(const Request& r) {
    std::vector<float> x;
    for (const int32_t sample : r.samples) {
      for (int64_t i = 0; i < r.image.size(); ++i) {
        const double wave = std::sin(0.7 * static_cast<double>(i) + sample);
        x.push_back(r.constant >= 0 ? r.constant : static_cast<float>(0.5 + 0.375 * wave));
      }
    }
    return x;
  }

  std::vector<float> run(Device where, const Exec& e, const Request& r) {
    const std::vector<float> pixels = pattern(r);
    const auto images = static_cast<int64_t>(r.samples.size());
    DeviceBuffer<float> x(where, pixels, r.shift), y(where, pixels.size(), r.shift);
    DeviceBuffer<bf16> rounded(where, pixels.size(), r.shift);
    DeviceBuffer<int32_t> sample(where, r.samples);
    DeviceBuffer<float> between(where,
                                static_cast<size_t>(images * corruption_between(r.link, r.image)));
    StepState at;
    at.step = static_cast<uint64_t>(r.step);
    DeviceBuffer<StepState> state(where, std::vector<StepState>{at});
    Corrupt args;
    args.link = r.link;
    args.number = r.number;
    args.seed = r.seed;
    args.state = r.step >= 0 ? state.data() : nullptr;
    args.sample = sample.data();
    args.batch = images;
    args.image = r.image;
    args.x = x.data();
    args.y = r.in_place ? x.data() : y.data();
    args.y_bf16 = rounded.data();
    args.between = between.data();
    corrupt(e, args);
    const std::vector<float> result = r.in_place ? x.download() : y.download();
    EXPECT_EQ(bits_of(rounded.download()), bits_of_rounded(result));
    return result;
  }
  std::vector<float> run(const Request& r) { return run(device(), exec(), r); }

  // What the CPU makes of the same request, bit for bit.
  void expect_bits_of_cpu(const Request& r, const std::vector<float>& found) {
    if (!cpu_) cpu_ = make_exec(Device::cpu);
    EXPECT_EQ(bytes_of(run(Device::cpu, cpu_->exec(), r)), bytes_of(found));
  }

  static std::vector<int32_t> first_samples(int count) {
    std::vector<int32_t> samples(static_cast<size_t>(count));
    std::iota(samples.begin(), samples.end(), 0);
    return samples;
  }

 private:
  std::unique_ptr<TestExec> cpu_;
};

}  // namespace elbo
