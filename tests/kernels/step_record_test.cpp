#include "kernels/step_record.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/finite_check.h"
#include "tests/support/device.h"
#include "tests/support/error_of.h"
#include "tests/support/values.h"

namespace elbo {
namespace {

// Positive terms; chains of at most some 16 additions in fp32 before fp64 takes over.
constexpr double kSumError = 1e-6;

class StepRecordTest : public DeviceTest {
 protected:
  struct Result {
    StepState state;
    std::vector<LossRecord> ring;
  };

  Result record(StepState state, const std::vector<float>& nll, const std::vector<float>& kl,
                const std::vector<float>& grad = {1.8f, 2.4f}, size_t ring_size = 4) {
    DeviceBuffer<StepState> dstate(device(), std::vector<StepState>{state});
    DeviceBuffer<LossRecord> ring(device(), std::vector<LossRecord>(ring_size));
    DeviceBuffer<float> dnll(device(), nll), dkl(device(), kl), dgrad(device(), grad);
    StepRecord args;
    args.grad = dgrad.data();
    args.count = static_cast<int64_t>(grad.size());
    args.max_norm = 1.0f;
    args.nll = nll.empty() ? nullptr : dnll.data();
    args.nll_count = static_cast<int64_t>(nll.size());
    args.kl = kl.empty() ? nullptr : dkl.data();
    args.batch = static_cast<int64_t>(kl.empty() ? nll.size() : kl.size());
    args.state = dstate.data();
    args.ring = ring.data();
    args.ring_size = static_cast<int64_t>(ring_size);
    record_step(exec(), args);
    return {dstate.download()[0], ring.download()};
  }

  static StepState example() {
    StepState state;
    state.step = 6;
    state.learning_rate = 0.125f;
    state.kl_weight = 0.5f;
    state.recon_weight = 2.0f;
    return state;
  }
};

TEST_P(StepRecordTest, TakesPerplexityAndDiscriminatorAlong) {
  DeviceBuffer<StepState> state(device(), std::vector<StepState>{example()});
  DeviceBuffer<LossRecord> ring(device(), std::vector<LossRecord>(4));
  DeviceBuffer<float> grad(device(), std::vector{1.0f}), perplexity(device(), std::vector{17.5f}),
      discriminator(device(), std::vector{0.625f});
  StepRecord args;
  args.grad = grad.data();
  args.count = args.batch = 1;
  args.perplexity = perplexity.data();
  args.discriminator = discriminator.data();
  args.state = state.data();
  args.ring = ring.data();
  args.ring_size = 4;
  record_step(exec(), args);
  EXPECT_EQ(ring.download()[6 % 4].perplexity, 17.5f);
  EXPECT_EQ(ring.download()[6 % 4].discriminator, 0.625f);
  const LossRecord without = record(example(), {1.0f}, {1.0f}).ring[6 % 4];
  EXPECT_EQ(without.perplexity, 0.0f);
  EXPECT_EQ(without.discriminator, 0.0f);
}

TEST_P(StepRecordTest, HoldsTheMeansOfTheStepInItsSlot) {
  for (const int64_t batch : {1, 31, 33, 255, 257, 1000}) {
    const auto nll = random_values(batch, 8, 50.0, 150.0), kl = random_values(batch, 9, 0.0, 30.0);
    double mean_nll = 0.0, mean_kl = 0.0;
    for (const float v : nll) mean_nll += v / static_cast<double>(batch);
    for (const float v : kl) mean_kl += v / static_cast<double>(batch);
    const Result result = record(example(), nll, kl);
    const LossRecord& slot = result.ring[6 % 4];
    EXPECT_EQ(slot.step, 6u);
    EXPECT_NEAR(slot.recon, mean_nll, kSumError * mean_nll);
    EXPECT_NEAR(slot.kl, mean_kl, kSumError * mean_kl);
    EXPECT_EQ(slot.total, 2.0f * slot.recon + 0.5f * slot.kl);
    EXPECT_EQ(slot.learning_rate, 0.125f);
    EXPECT_EQ(slot.kl_weight, 0.5f);
    EXPECT_FLOAT_EQ(slot.grad_norm, 3.0f);
    EXPECT_EQ(result.ring[1].step, 0u) << "another slot was written";
    EXPECT_EQ(result.state.bad_op, 0u);
  }
}

TEST_P(StepRecordTest, ALossMayComeInParts) {
  for (const size_t gradients : {0, 5, 400}) {
    const auto nll = random_values(3 * 70, 20, 10.0, 20.0), kl = random_values(70, 21, 0.0, 30.0);
    double recon = 0.0, cost = 0.0;
    for (const float v : nll) recon += v / 70.0;
    for (const float v : kl) cost += v / 70.0;
    const Result result = record(example(), nll, kl, random_values(gradients, 22));
    EXPECT_NEAR(result.ring[2].recon, recon, kSumError * recon) << gradients;
    EXPECT_NEAR(result.ring[2].kl, cost, kSumError * cost) << gradients;
  }
}

// A launch runs over the gradients and takes the losses along, however many there are of either.
TEST_P(StepRecordTest, AnyNumberOfGradientsGoesWithAnyNumberOfLosses) {
  for (const int64_t count : {0, 1, 7, 256, 5000}) {
    for (const int64_t batch : {1, 6, 300}) {
      const auto grad = random_values(count, 12);
      const auto nll = random_values(batch, 13, 50.0, 150.0);
      double square = 0.0, mean = 0.0;
      for (const float g : grad) square += static_cast<double>(g) * g;
      for (const float v : nll) mean += v / static_cast<double>(batch);
      const Result result = record(example(), nll, {}, grad);
      const std::string what = std::to_string(count) + " and " + std::to_string(batch);
      EXPECT_NEAR(result.ring[2].recon, mean, kSumError * mean) << what;
      EXPECT_NEAR(result.ring[2].grad_norm, std::sqrt(square), 2e-6 * std::sqrt(square)) << what;
      EXPECT_EQ(result.state.grad_norm, result.ring[2].grad_norm) << what;
      EXPECT_EQ(result.state.grad_scale<1.0f, std::sqrt(square)> 1.0) << what;
    }
  }
}

TEST_P(StepRecordTest, ANonFiniteGradientTripsTheWire) {
  EXPECT_EQ(record(example(), {1.0f}, {1.0f}, {1.0f, NAN}).state.bad_op, kGradNormOpId + 1);
}

TEST_P(StepRecordTest, AMissingLossCountsAsZero) {
  const Result no_kl = record(example(), {4.0f, 6.0f}, {});
  EXPECT_EQ(no_kl.ring[2].recon, 5.0f);
  EXPECT_EQ(no_kl.ring[2].kl, 0.0f);
  EXPECT_EQ(no_kl.ring[2].total, 10.0f);
  const Result no_nll = record(example(), {}, {4.0f, 6.0f});
  EXPECT_EQ(no_nll.ring[2].recon, 0.0f);
  EXPECT_EQ(no_nll.ring[2].total, 2.5f);
}

TEST_P(StepRecordTest, ANonFiniteLossTripsTheWire) {
  EXPECT_EQ(record(example(), {1.0f, NAN}, {1.0f, 1.0f}).state.bad_op, kLossOpId + 1);
  EXPECT_EQ(record(example(), {1.0f, 1.0f}, {INFINITY, 1.0f}).state.bad_op, kLossOpId + 1);
  StepState known = example();
  known.bad_op = 12;
  EXPECT_EQ(record(known, {NAN}, {1.0f}).state.bad_op, 12u) << "an op's own id says more";
}

// What lies behind the last loss and the last gradient belongs to somebody else.
TEST_P(StepRecordTest, NothingBehindTheEndCounts) {
  for (const int64_t count : {0, 2, 5}) {
    std::vector<float> grad(static_cast<size_t>(count) + 1, 1.0f);
    grad.back() = NAN;
    DeviceBuffer<float> dgrad(device(), grad), nll(device(), {4.0f, 6.0f, NAN}),
        kl(device(), {1.0f, 2.0f, NAN});
    DeviceBuffer<StepState> state(device(), std::vector<StepState>{example()});
    DeviceBuffer<LossRecord> ring(device(), std::vector<LossRecord>(4));
    StepRecord args;
    args.grad = dgrad.data();
    args.count = count;
    args.nll = nll.data();
    args.kl = kl.data();
    args.nll_count = args.batch = 2;
    args.state = state.data();
    args.ring = ring.data();
    args.ring_size = 4;
    record_step(exec(), args);
    EXPECT_EQ(state.download()[0].bad_op, 0u) << count;
    EXPECT_EQ(ring.download()[2].recon, 5.0f);
    EXPECT_EQ(ring.download()[2].kl, 1.5f);
    EXPECT_NEAR(ring.download()[2].grad_norm, std::sqrt(static_cast<double>(count)), 1e-6);
  }
}

TEST_P(StepRecordTest, ANonFiniteRunningStatisticTripsTheWire) {
  for (const size_t gradients : {0, 3, 300}) {
    for (const int64_t count : {1, 64, 513}) {
      const auto bad_op = [&](int64_t at, float value, int64_t counted) {
        auto running = random_values(count, 30);
        running[static_cast<size_t>(at)] = value;
        DeviceBuffer<float> drunning(device(), running),
            grad(device(), random_values(gradients, 31)), nll(device(), std::vector{2.5f});
        DeviceBuffer<StepState> state(device(), std::vector<StepState>{example()});
        DeviceBuffer<LossRecord> ring(device(), std::vector<LossRecord>(4));
        StepRecord args;
        args.grad = grad.data();
        args.count = static_cast<int64_t>(gradients);
        args.nll = nll.data();
        args.nll_count = args.batch = 1;
        args.running = drunning.data();
        args.running_count = counted;
        args.state = state.data();
        args.ring = ring.data();
        args.ring_size = 4;
        record_step(exec(), args);
        const uint32_t bad = state.download()[0].bad_op;
        if (bad == 0) {
          EXPECT_EQ(ring.download()[2].recon, 2.5f);
        }
        return bad;
      };
      EXPECT_EQ(bad_op(0, 3e38f, count), 0u);
      for (const int64_t at : {int64_t{0}, count - 1}) {
        EXPECT_EQ(bad_op(at, NAN, count), kLossOpId + 1) << gradients << ", " << at;
        EXPECT_EQ(bad_op(at, -INFINITY, count), kLossOpId + 1) << gradients << ", " << at;
      }
      EXPECT_EQ(bad_op(count - 1, NAN, count - 1), 0u) << "one past the end";
    }
  }
}

TEST_P(StepRecordTest, EveryThreadOrderGivesTheSameBits) {
  const auto nll = random_values(257, 10), kl = random_values(257, 11);
  for_each_order(device(), [&] { return record(example(), nll, kl).ring; });
}

TEST_P(StepRecordTest, RefusesWhatItCannotDo) {
  expect_no_launch();
  DeviceBuffer<StepState> state(device(), std::vector<StepState>(1));
  DeviceBuffer<LossRecord> ring(device(), 1);
  StepRecord args;
  args.batch = 4;
  args.state = state.data();
  args.ring = ring.data();
  const auto error = [&] { return error_of([&] { record_step(exec(), args); }); };
  EXPECT_EQ(error(), "1: record_step: the ring has 0 slots; it needs one at least");
  args.ring_size = 1;
  args.batch = 0;
  EXPECT_EQ(error(), "1: record_step: an empty batch has no mean");
  args.batch = 4;
  args.count = 5;
  EXPECT_EQ(error(), "1: record_step: the gradient is null");
  args.ring = nullptr;
  EXPECT_EQ(error(), "1: record_step: the ring is null");
  args.state = nullptr;
  EXPECT_EQ(error(), "1: record_step: the step state is null");
}

INSTANTIATE_TEST_SUITE_P(Devices, StepRecordTest, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
