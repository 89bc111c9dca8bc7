// Tensors, contexts, liveness plans and parameter stores.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "engine/context.h"
#include "engine/liveness_plan.h"
#include "engine/param_store.h"
#include "engine/tensor.h"
#include "tests/support/error_of.h"

#ifdef __SANITIZE_ADDRESS__
// An allocation that is too large returns null, as it does without the sanitizer: one test asks for it.
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }
#endif

namespace elbo {
namespace {

TEST(Shape, CountsItsElements) {
  EXPECT_EQ((Shape{}).size(), 1);
  EXPECT_EQ((Shape{3, 0, 5}).size(), 0);
  EXPECT_EQ((Shape{2, 3, 4, 5}).size(), 120);
  EXPECT_EQ((Shape{128, 784}).to_string(), "[128, 784]");
}

TEST(Shape, RefusesNegativeLengthsAndOverflow) {
  EXPECT_NE(error_of([] { Shape{2, -1}; }), "no error");
  const int64_t big = int64_t{1} << 40;
  EXPECT_NE(error_of([big] { (void)Shape{big, big}.size(); }), "no error");
}

TEST(Tensor, RefusesToBeReadAsAnotherType) {
  float values[2] = {1, 2};
  const Tensor tensor = external_tensor(values, Shape{2}, Device::cpu);
  EXPECT_EQ(tensor.as<float>()[1], 2.0f);
  EXPECT_EQ(error_of([&] { tensor.as<double>(); }), "1: tensor [2] holds f32, not f64");
}

TEST(Context, CountsMemoryByRole) {
  Context context;
  {
    const DeviceBlock block(context, 1000, Role::buffers);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block.data()) % 256, 0u);
    EXPECT_EQ(context.memory(Role::buffers).bytes, 1000u);
  }
  EXPECT_EQ(context.memory(Role::buffers).bytes, 0u);
  EXPECT_EQ(context.memory(Role::buffers).high_water, 1000u);
}

TEST(Context, NamesRoleAndBytesWhenMemoryRunsOut) {
  Context context;
  const std::string error =
      error_of([&] { DeviceBlock(context, size_t{1} << 62, Role::activations); });
  EXPECT_NE(error.find("4611686018427387904 bytes wanted for activations"), std::string::npos)
      << error;
}

TEST(ChooseDevice, RefusesWhatItDoesNotKnow) {
  EXPECT_EQ(choose_device("cpu").device, Device::cpu);
  for (const char* request : {"gpu", "cuda:", "cuda:x", "cuda:99999999999", "CPU"}) {
    EXPECT_EQ(error_of([&] { choose_device(request); }).substr(0, 2), "2:") << request;
  }
}

TEST(ChooseDevice, SaysWhyWhenItTakesTheCpu) {
  const DeviceChoice choice = choose_device("auto");
  EXPECT_FALSE(choice.reason.empty());
  if (choice.device == Device::cpu) {
    EXPECT_EQ(error_of([] { choose_device("cuda"); }).substr(0, 2), "3:")
        << "asked for by name, CUDA is never replaced by the CPU";
  }
}

// Two buffers whose lives overlap never share a byte.
void expect_sound(const LivenessPlan& plan) {
  for (size_t a = 0; a < plan.lives.size(); ++a) {
    EXPECT_EQ(plan.offsets[a] % 256, 0u);
    EXPECT_LE(plan.offsets[a] + plan.lives[a].bytes, plan.total_bytes);
    for (size_t b = 0; b < a; ++b) {
      const bool in_time = plan.lives[a].first_use <= plan.lives[b].last_use &&
                           plan.lives[b].first_use <= plan.lives[a].last_use;
      const bool in_space = plan.offsets[a] < plan.offsets[b] + plan.lives[b].bytes &&
                            plan.offsets[b] < plan.offsets[a] + plan.lives[a].bytes;
      ASSERT_FALSE(in_time && in_space) << a << " and " << b;
    }
  }
}

TEST(LivenessPlan, NeverOverlapsLiveBuffersAndStaysBelowTheSum) {
  std::mt19937_64 rng(1);
  for (int trial = 0; trial < 200; ++trial) {
    std::vector<BufferLife> lives(1 + rng() % 60);
    size_t peak_lower_bound = 0;
    for (BufferLife& life : lives) {
      life.bytes = rng() % 10000;
      life.first_use = static_cast<int32_t>(rng() % 50);
      life.last_use = life.first_use + static_cast<int32_t>(rng() % 20);
    }
    for (int32_t t = 0; t < 70; ++t) {
      size_t live = 0;
      for (const BufferLife& life : lives) {
        if (life.first_use <= t && t <= life.last_use) live += (life.bytes + 255) / 256 * 256;
      }
      peak_lower_bound = std::max(peak_lower_bound, live);
    }
    const LivenessPlan plan = plan_liveness(lives, 0);
    expect_sound(plan);
    EXPECT_LE(plan.total_bytes, plan.sum_bytes);
    // No packing can beat the peak; greedy best fit stays near it.
    EXPECT_GE(plan.total_bytes, peak_lower_bound);
    EXPECT_LE(static_cast<double>(plan.total_bytes), 1.5 * static_cast<double>(peak_lower_bound));
  }
}

TEST(LivenessPlan, HandlesNothingAndEmptyBuffers) {
  EXPECT_EQ(plan_liveness({}, 0).total_bytes, 0u);
  expect_sound(plan_liveness({{0, 0, 5}, {0, 0, 5}, {16, 2, 3}}, 256));
}

TEST(ParamStore, StacksPartsIntoOneParameterUnderTheirOwnNames) {
  Context context;
  ParamStore params(context);
  const auto a = params.add("a", {3, 5}, {InitKind::constant, 1.0f});
  const auto stacked =
      params.add_stacked({"mu.weight", "logvar.weight"}, {2, 5}, {InitKind::normal});
  params.finalise();
  params.initialise(3);
  EXPECT_EQ(params.param(stacked).value.shape, (Shape{4, 5}));
  EXPECT_EQ(params.count(), 15 + 20);
  ASSERT_EQ(params.pieces().size(), 3u);
  EXPECT_EQ(params.pieces()[2].name, "logvar.weight");
  EXPECT_EQ(params.pieces()[2].offset, params.pieces()[1].offset + 10);
  EXPECT_EQ(params.param(a).value.as<float>()[14], 1.0f);
}

TEST(ParamStore, StartsTheSameForASeedAndDifferentlyForAnother) {
  Context context;
  const auto start = [&](uint64_t seed) {
    ParamStore params(context);
    Initialiser init;
    init.fan_in = 100;
    params.add("w", {40, 100}, init);
    params.finalise();
    params.initialise(seed);
    const auto* values = params.param(0).value.as<float>();
    return std::vector<float>(values, values + 4000);
  };
  EXPECT_EQ(start(1), start(1));
  EXPECT_NE(start(1), start(2));
}

TEST(ParamStore, RefusesTwoParametersOfOneName) {
  Context context;
  ParamStore params(context);
  params.add("w", {1}, {InitKind::zeros});
  EXPECT_EQ(error_of([&] { params.add("w", {1}, {InitKind::zeros}); }),
            "1: two parameters are called w");
}

struct Moments {
  double mean, variance, low, high;
};
Moments moments_of(const Initialiser& init) {
  std::vector<float> values(200000);
  initialise_host(init, 1, 0, 200000, values.data());
  Moments m{0, 0, values[0], values[0]};
  for (float v : values) {
    m.mean += v;
    m.low = std::min<double>(m.low, v);
    m.high = std::max<double>(m.high, v);
  }
  m.mean /= 200000;
  for (float v : values) m.variance += (v - m.mean) * (v - m.mean) / 200000;
  return m;
}

// 200,000 draws: the mean of a unit variance is within 0.01 and the variance within 2 % at over four
// standard errors.
TEST(Initialiser, DrawsTheDistributionsItNames) {
  const Moments torch = moments_of({InitKind::torch_uniform, 1.0f, 400, 784});
  EXPECT_NEAR(torch.high, 0.05, 1e-4);
  EXPECT_NEAR(torch.low, -0.05, 1e-4);
  EXPECT_NEAR(torch.variance, 0.05 * 0.05 / 3, 0.02 * 0.05 * 0.05 / 3);
  const Moments glorot = moments_of({InitKind::glorot_uniform, 1.0f, 100, 200});
  EXPECT_NEAR(glorot.high, std::sqrt(6.0 / 300), 1e-4);
  const Moments he = moments_of({InitKind::he_normal, 1.0f, 50, 10});
  EXPECT_NEAR(he.variance, 2.0 / 50, 0.02 * 2.0 / 50);
  const Moments normal = moments_of({InitKind::normal, 0.01f, 0, 0});
  EXPECT_NEAR(normal.variance, 1e-4, 2e-6);
  EXPECT_NEAR(normal.mean, 0, 1e-4);
}

}  // namespace
}  // namespace elbo
