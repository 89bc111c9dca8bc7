// The optimiser formulas against PyTorch's published algorithms, written out here in double in
// PyTorch's own order of operations.
#include "kernels/update_rules.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace elbo {
namespace {

// A gradient that changes sign and scale from step to step.
double gradient_at(int step) { return std::sin(1.7 * step) * std::pow(10.0, (step % 5) - 3); }

TEST(IntegerPower, IsThePower) {
  for (const double base : {0.9, 0.99, 0.999, 0.5}) {
    for (const uint64_t n : {0u, 1u, 2u, 3u, 10u, 999u, 100000u}) {
      const double expected = std::pow(base, static_cast<double>(n));
      EXPECT_NEAR(integer_power(base, n), expected, 1e-10 * expected + 1e-300) << base << "^" << n;
    }
  }
}

// torch.optim.Adam/AdamW, single-tensor path.
struct TorchAdam {
  AdamOptions o;
  double weight = 0.7, m = 0.0, v = 0.0;

  void step(int t, double g) {
    if (o.decoupled) weight *= 1.0 - o.learning_rate * o.weight_decay;
    if (!o.decoupled) g += o.weight_decay * weight;
    m = o.beta1 * m + (1.0 - o.beta1) * g;
    v = o.beta2 * v + (1.0 - o.beta2) * g * g;
    const double correct1 = 1.0 - std::pow(o.beta1, t), correct2 = 1.0 - std::pow(o.beta2, t);
    const double denominator = std::sqrt(v) / std::sqrt(correct2) + o.epsilon;
    weight -= o.learning_rate / correct1 * m / denominator;
  }
};

template <class T>
void expect_adam_follows_torch(const AdamOptions& options, double tolerance) {
  TorchAdam torch{options};
  T weight = T(0.7), m = T(0), v = T(0);
  for (int t = 1; t <= 200; ++t) {
    torch.step(t, gradient_at(t));
    adam_update(make_adam_step<T>(options, static_cast<uint64_t>(t)), T(gradient_at(t)), weight, m,
                v);
    ASSERT_NEAR(weight, torch.weight, tolerance) << "step " << t;
    ASSERT_NEAR(v, torch.v, tolerance * 10) << "step " << t;
  }
}

TEST(AdamUpdate, FollowsPyTorch) {
  expect_adam_follows_torch<double>({}, 1e-13);
  expect_adam_follows_torch<float>({}, 2e-6);  // 200 roundings of 2^-25 on a weight near 0.7
}

TEST(AdamUpdate, FollowsPyTorchWithL2Decay) {
  AdamOptions options;
  options.weight_decay = 0.1;
  expect_adam_follows_torch<double>(options, 1e-13);
}

TEST(AdamUpdate, FollowsPyTorchAsAdamW) {
  AdamOptions options;
  options.weight_decay = 0.1;
  options.learning_rate = 0.01;
  options.decoupled = true;
  expect_adam_follows_torch<double>(options, 1e-13);
  expect_adam_follows_torch<float>(options, 1e-5);
}

// Bias correction makes the first step lr * sign(g), whatever the scale of g.
TEST(AdamUpdate, TakesAFirstStepOfTheLearningRate) {
  for (const double g : {1e-4, -3.0, 1e4}) {
    double weight = 0.0, m = 0.0, v = 0.0;
    adam_update(make_adam_step<double>({}, 1), g, weight, m, v);
    EXPECT_NEAR(weight, g > 0 ? -1e-3 : 1e-3, 1.1e-7);  // epsilon / |g| relative
  }
}

TEST(AdamUpdate, KeepsTheWeightWhenTheGradientIsZero) {
  float weight = 0.25f, m = 0.0f, v = 0.0f;
  adam_update(make_adam_step<float>({}, 1), 0.0f, weight, m, v);
  EXPECT_EQ(weight, 0.25f);
}

TEST(SgdUpdate, FollowsPyTorch) {
  for (const bool nesterov : {false, true}) {
    double weight = 0.7, buffer = 0.0, torch_weight = 0.7, torch_buffer = 0.0;
    const SgdStep<double> step{0.05, 0.9, 0.01, nesterov};
    for (int t = 1; t <= 100; ++t) {
      const double g = gradient_at(t) + 0.01 * torch_weight;
      torch_buffer = t == 1 ? g : 0.9 * torch_buffer + g;  // PyTorch clones g at the first step
      torch_weight -= 0.05 * (nesterov ? g + 0.9 * torch_buffer : torch_buffer);
      sgd_update(step, gradient_at(t), weight, buffer);
      ASSERT_NEAR(weight, torch_weight, 1e-13) << t;
    }
  }
}

TEST(SgdUpdate, WithoutMomentumIsGradientDescent) {
  float weight = 1.0f, buffer = 5.0f;
  sgd_update(SgdStep<float>{0.5f, 0.0f, 0.0f, false}, 0.25f, weight, buffer);
  EXPECT_EQ(weight, 0.875f);
}

TEST(AdagradUpdate, FollowsPyTorch) {
  AdagradOptions options;
  options.learning_rate_decay = 0.02;
  options.weight_decay = 0.01;
  double weight = 0.7, sum = 0.0, torch_weight = 0.7, torch_sum = 0.0;
  for (int t = 1; t <= 100; ++t) {
    const double g = gradient_at(t) + 0.01 * torch_weight;
    torch_sum += g * g;
    torch_weight -= 0.01 / (1.0 + (t - 1) * 0.02) * g / (std::sqrt(torch_sum) + 1e-10);
    adagrad_update(make_adagrad_step<double>(options, static_cast<uint64_t>(t)), gradient_at(t),
                   weight, sum);
    ASSERT_NEAR(weight, torch_weight, 1e-13) << t;
  }
}

}  // namespace
}  // namespace elbo
