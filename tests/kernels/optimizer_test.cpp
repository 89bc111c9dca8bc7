#include "kernels/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/device.h"
#include "tests/support/error_of.h"
#include "tests/support/values.h"

namespace elbo {
namespace {

constexpr int kSteps = 10;
constexpr float kLearningRate = 0.01f, kGradScale = 0.5f;

struct Case {
  std::string name;
  OptimizerHyper hyper;
};

std::vector<Case> all_cases() {
  const auto make = [](OptimizerKind kind, float decay) {
    OptimizerHyper hyper;
    hyper.kind = kind;
    hyper.weight_decay = decay;
    return hyper;
  };
  std::vector<Case> cases = {{"adam", make(OptimizerKind::adam, 0.0f)},
                             {"adam with L2", make(OptimizerKind::adam, 0.1f)},
                             {"adamw", make(OptimizerKind::adamw, 0.1f)},
                             {"sgd", make(OptimizerKind::sgd, 0.1f)},
                             {"momentum", make(OptimizerKind::sgd, 0.1f)},
                             {"nesterov", make(OptimizerKind::sgd, 0.1f)},
                             {"adagrad", make(OptimizerKind::adagrad, 0.1f)}};
  cases[4].hyper.momentum = cases[5].hyper.momentum = 0.9f;
  cases[5].hyper.nesterov = true;
  return cases;
}

// PyTorch's documented pseudocode (torch.optim.Adam, AdamW, SGD, Adagrad) for one parameter, in
// double, written out here without a look at update_rules.h.
struct Reference {
  double param, m = 0.0, v = 0.0;

  void step(const OptimizerHyper& h, double raw_grad, int64_t t) {
    const double lr = kLearningRate, decay = h.weight_decay;
    double g = kGradScale * raw_grad;
    if (h.kind == OptimizerKind::adam || h.kind == OptimizerKind::adamw) {
      if (h.kind == OptimizerKind::adamw) {
        param -= lr * decay * param;
      } else {
        g += decay * param;
      }
      m = h.beta1 * m + (1.0 - h.beta1) * g;
      v = h.beta2 * v + (1.0 - h.beta2) * g * g;
      const double m_hat = m / (1.0 - std::pow(h.beta1, static_cast<double>(t)));
      const double v_hat = v / (1.0 - std::pow(h.beta2, static_cast<double>(t)));
      param -= lr * m_hat / (std::sqrt(v_hat) + h.epsilon);
      return;
    }
    g += decay * param;
    if (h.kind == OptimizerKind::adagrad) {
      m += g * g;
      param -= lr * g / (std::sqrt(m) + h.epsilon);
      return;
    }
    if (h.momentum != 0.0f) {
      m = t == 1 ? g : h.momentum * m + g;
      g = h.nesterov ? g + h.momentum * m : m;
    }
    param -= lr * g;
  }
};

// Gradients of step t; some are zero and some tiny, as those of dead units are.
std::vector<float> gradients(int64_t n, int t) {
  auto grad = random_values(n, 100 + static_cast<uint64_t>(t));
  for (size_t i = 0; i < grad.size(); i += 7) grad[i] = 0.0f;
  for (size_t i = 3; i < grad.size(); i += 11) grad[i] *= 1e-6f;
  return grad;
}

class Optimizer : public DeviceTest {
 protected:
  struct Spans {
    std::vector<float> param, moment1, moment2;
    std::vector<std::vector<float>> all() const { return {param, moment1, moment2}; }
  };

  StepState state_at(uint64_t step) const {
    StepState state;
    state.step = step;
    state.learning_rate = kLearningRate;
    state.grad_scale = kGradScale;
    return state;
  }

  // `steps` updates from random parameters and zero moments. Moments that are not needed are null.
  Spans run(Device where, const Exec& e, const OptimizerHyper& hyper, int64_t n, int steps,
            size_t shift, size_t grad_shift = 0) {
    const auto count = static_cast<size_t>(n);
    const std::vector<float> zeros(count);
    DeviceBuffer<float> param(where, random_values(n, 1), shift), grad(where, count, grad_shift);
    DeviceBuffer<float> m1(where, zeros, shift), m2(where, zeros, shift);
    DeviceBuffer<bf16> shadow(where, count);
    DeviceBuffer<StepState> state(where, 1);
    const size_t moments = optimizer_moments(hyper);
    for (int t = 1; t <= steps; ++t) {
      grad.upload(gradients(n, t));
      state.upload({state_at(static_cast<uint64_t>(t - 1))});
      optimizer_step(e, {hyper, param.data(), grad.data(), moments > 0 ? m1.data() : nullptr,
                         moments > 1 ? m2.data() : nullptr, n, state.data(), shadow.data()});
    }
    if (steps > 0) {
      EXPECT_EQ(bits_of(shadow.download()), bits_of_rounded(param.download()));
    }
    return {param.download(), m1.download(), m2.download()};
  }
};

TEST_P(Optimizer, FollowsPyTorchForTenSteps) {
  for (const Case& c : all_cases()) {
    for (const int64_t n : kSizes) {
      if (n == 0) continue;
      const Spans got = run(device(), exec(), c.hyper, n, kSteps, n % 2);
      std::vector<double> param, m, v;
      const auto start = random_values(n, 1);
      std::vector<std::vector<float>> grads;
      for (int t = 1; t <= kSteps; ++t) grads.push_back(gradients(n, t));
      for (size_t i = 0; i < start.size(); ++i) {
        Reference r{start[i]};
        for (int t = 1; t <= kSteps; ++t) r.step(c.hyper, grads[static_cast<size_t>(t - 1)][i], t);
        param.push_back(r.param), m.push_back(r.m), v.push_back(r.v);
      }
      // An update moves a weight by at most about 0.01 * 20 in ten steps; each is off by a few ulp
      // of itself and half an ulp of the weight (2^-24 * 2), ten times: 2e-6.
      expect_close(got.param, param, 2e-6, 0.0, c.name + " parameters");
      // Sums of ten terms below 4: a few ulp of the largest.
      expect_close(got.moment1, m, 4e-6, 2e-6, c.name + " first moment");
      expect_close(got.moment2, v, 1e-8, 2e-6, c.name + " second moment");
    }
  }
}

TEST_P(Optimizer, AlignmentAndDeviceDoNotChangeABit) {
  const auto host = make_exec(Device::cpu);
  for (const Case& c : all_cases()) {
    const auto on_cpu = bytes_of(run(Device::cpu, host->exec(), c.hyper, 1023, 3, 0).all());
    for (const size_t shift : {0, 1}) {
      for (const size_t grad_shift : {0, 1}) {
        const auto got = run(device(), exec(), c.hyper, 1023, 3, shift, grad_shift);
        EXPECT_TRUE(bytes_of(got.all()) == on_cpu) << c.name << " shifts " << shift << grad_shift;
      }
    }
  }
}

TEST_P(Optimizer, ThreadsOfALargeSpanTakeSeveralTurns) {
  // 1056 blocks of 256 threads take 270,336 elements each time, or vectors where all is aligned.
  constexpr int64_t kCount = 300'001;
  const auto host = make_exec(Device::cpu);
  const OptimizerHyper hyper;
  EXPECT_TRUE(bytes_of(run(device(), exec(), hyper, kCount, 1, 1).all()) ==
              bytes_of(run(Device::cpu, host->exec(), hyper, kCount, 1, 0).all()));
}

TEST_P(Optimizer, BiasCorrectionHoldsLateInARun) {
  // At t = 2,000,000 the corrections are 1 to double precision, at t = 1 they make the first step
  // lr * sign(g) whatever the size of g.
  for (const uint64_t step : {uint64_t{0}, uint64_t{1'999'999}}) {
    const std::vector<float> moment1 = {step == 0 ? 0.0f : 0.25f},
                             moment2 = {step == 0 ? 0.0f : 1.0f};
    DeviceBuffer<float> param(device(), std::vector<float>{1.0f}), m1(device(), moment1),
        m2(device(), moment2), grad(device(), std::vector<float>{step == 0 ? 3e-4f : 0.5f});
    DeviceBuffer<StepState> state(device(), std::vector<StepState>{state_at(step)});
    optimizer_step(exec(), {OptimizerHyper{}, param.data(), grad.data(), m1.data(), m2.data(), 1,
                            state.data()});
    const double v = 0.999 + 0.001 * 0.0625;
    const double want =
        step == 0 ? 1.0 - 0.01 / (1.0 + 1e-8 / 1.5e-4) : 1.0 - 0.01 * 0.25 / std::sqrt(v);
    EXPECT_NEAR(param.download()[0], want, 1.2e-7) << "an ulp of 1; step " << step;
  }
}

TEST_P(Optimizer, ABadStepChangesNothing) {
  for (const Case& c : all_cases()) {
    const auto p = random_values(257, 2), m = random_values(257, 3), v = random_values(257, 4, 0.1);
    DeviceBuffer<float> param(device(), p), m1(device(), m), m2(device(), v);
    DeviceBuffer<float> grad(device(), std::vector<float>(257, NAN));
    StepState bad = state_at(5);
    bad.bad_op = 1;
    DeviceBuffer<StepState> state(device(), std::vector<StepState>{bad});
    optimizer_step(exec(),
                   {c.hyper, param.data(), grad.data(), m1.data(), m2.data(), 257, state.data()});
    EXPECT_EQ(param.download(), p) << c.name;
    EXPECT_EQ(m1.download(), m) << c.name;
    EXPECT_EQ(m2.download(), v) << c.name;
  }
}

// As a launch of its own would do it, whichever block comes last; the update still sees the old state.
TEST_P(Optimizer, MovesTheStateOnWhenAsked) {
  StepRule rule;
  rule.samples = 100;
  rule.batch = 40;
  rule.learning_rate = {ScheduleKind::constant, 0.25f};
  StepState before;
  before.step = 4;
  before.position = 40;
  before.learning_rate = kLearningRate;
  for (const int64_t n : {0, 5, 257, 100'000}) {
    const auto values = random_values(n, 21), grads = random_values(n, 22);
    const auto run = [&](const StepRule* next_step, uint32_t bad_op) {
      StepState state = before;
      state.bad_op = bad_op;
      DeviceBuffer<StepState> dstate(device(), std::vector<StepState>{state});
      DeviceBuffer<float> param(device(), values), grad(device(), grads);
      OptimizerHyper sgd;
      sgd.kind = OptimizerKind::sgd;
      OptimizerStep args{sgd, param.data(), grad.data(), nullptr, nullptr, n, dstate.data()};
      args.next_step = next_step;
      for (int i = 0; i < 2; ++i) optimizer_step(exec(), args);  // the ticket is ready again
      if (!next_step) {
        for (int i = 0; i < 2; ++i) advance_step(exec(), dstate.data(), rule);
      }
      const StepState after = dstate.download()[0];
      EXPECT_EQ(after.step, bad_op ? 4u : 6u) << n;
      EXPECT_EQ(after.epoch, bad_op ? 0u : 1u) << n;
      EXPECT_EQ(after.position, bad_op ? 40u : 0u) << n;
      EXPECT_EQ(after.learning_rate, bad_op ? kLearningRate : 0.25f) << n;
      return param.download();
    };
    EXPECT_EQ(run(&rule, 3), values) << n;
    run(nullptr, 0);
    const auto moved = run(&rule, 0);
    for (int64_t i = 0; i < n; ++i) {
      const float once = values[i] - kLearningRate * grads[i];
      // Two roundings of values below 4, half an ulp of 2^-22 each on either side.
      ASSERT_NEAR(moved[i], once - 0.25f * grads[i], 0x1p-21) << i << " of " << n;
    }
    for_each_order(device(), [&] { return run(&rule, 0); });
  }
}

TEST_P(Optimizer, EveryThreadOrderGivesTheSameBits) {
  for (const Case& c : all_cases()) {
    for_each_order(device(), [&] { return run(device(), exec(), c.hyper, 1027, 2, 0).all(); });
  }
}

TEST_P(Optimizer, SaysHowManyMomentsItNeedsAndInsistsOnThem) {
  expect_no_launch();
  const std::vector<size_t> want = {2, 2, 2, 0, 1, 1, 1};
  const auto cases = all_cases();
  for (size_t i = 0; i < cases.size(); ++i) {
    EXPECT_EQ(optimizer_moments(cases[i].hyper), want[i]) << cases[i].name;
  }
  DeviceBuffer<float> x(device(), 4);
  DeviceBuffer<StepState> state(device(), std::vector<StepState>(1));
  OptimizerStep args{OptimizerHyper{}, x.data(), x.data(), x.data(), nullptr, 4, state.data()};
  EXPECT_EQ(error_of([&] { optimizer_step(exec(), args); }),
            "1: optimizer_step: this optimiser needs 2 moment spans; one is null");
  args.param = nullptr;
  EXPECT_EQ(error_of([&] { optimizer_step(exec(), args); }),
            "1: optimizer_step: the parameters, gradients or step state are null");
  args.count = 0;
  optimizer_step(exec(), args);
}

INSTANTIATE_TEST_SUITE_P(Devices, Optimizer, testing::ValuesIn(available_devices()), device_name);

}  // namespace
}  // namespace elbo
