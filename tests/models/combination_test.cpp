// Every likelihood under every objective: the gradient is that of the total, fifty steps lower the loss,
// and CUDA takes the steps of the CPU. Prints the matrix of docs/objectives.md.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>

#include "tests/models/likelihood_fixture.h"
#include "tests/models/objective_fixture.h"
#include "tests/support/device.h"

namespace elbo {
namespace {

using likelihood_test::losses_of;
using likelihood_test::toy_config;
using likelihood_test::ToySession;
using objective_test::Objective;
using objective_test::objectives;
using objective_test::Outcome;
using objective_test::Subject;
using trainer_test::Recorder;

// The one pair that means nothing, and is refused.
bool is_refused(const Objective& objective, Likelihood likelihood) {
  return likelihood == Likelihood::gaussian_optimal &&
         (objective.config.bound == Bound::iwae || objective.config.bound == Bound::dreg);
}

RunConfig config_of(const Objective& objective, Likelihood likelihood) {
  RunConfig config = toy_config(likelihood, false);
  config.model.kind = objective.kind;
  config.train.objective = objective.config;
  config.train.objective.capacity.base = 5;
  if (objective.config.sparsity > 0) config.model.code_activation = Activation::sigmoid;
  if (objective.config.contractive > 0) config.model.activation = Activation::tanh;
  return config;
}

class Combination : public testing::TestWithParam<Likelihood> {};

TEST_P(Combination, GradientIsThatOfTheTotal) {
  for (const Objective& objective : objectives()) {
    if (is_refused(objective, GetParam())) continue;
    Subject subject(objective.config, objective.kind, GetParam());
    subject.set_weights(2.5, 0.4);
    const Outcome outcome = subject.run();
    double largest = 0;
    for (const double gradient : outcome.gradients) largest = std::max(largest, std::abs(gradient));
    for (int64_t i = 1; i < subject.count(); i += 61) {
      ASSERT_NEAR(outcome.gradients[static_cast<size_t>(i)], subject.difference(i), 1e-7 * largest)
          << objective.name << ", parameter " << i;
    }
  }
}

TEST_P(Combination, FiftyStepsLowerTheLoss) {
  for (const Objective& objective : objectives()) {
    if (is_refused(objective, GetParam())) continue;
    const std::vector<double> losses = losses_of(config_of(objective, GetParam()), Device::cpu);
    ASSERT_EQ(losses.size(), 10u);
    std::printf("%-20s %-12s %9.1f -> %9.1f\n", likelihood_name(GetParam()), objective.name.c_str(),
                losses.front(), losses.back());
    EXPECT_LT(losses.back(), losses.front() - 2) << objective.name;
  }
}

TEST_P(Combination, CudaTakesTheStepsOfTheCpu) {
  if (!why_no_cuda().empty()) GTEST_SKIP() << why_no_cuda();
  for (const Objective& objective : objectives()) {
    if (is_refused(objective, GetParam())) continue;
    RunConfig few = config_of(objective, GetParam());
    few.train.max_steps = 2;
    few.output.log_interval = 1;
    const std::vector<double> cpu = losses_of(few, Device::cpu);
    const std::vector<double> cuda = losses_of(few, Device::cuda);
    ASSERT_EQ(cpu.size(), cuda.size());
    for (size_t i = 0; i < cpu.size(); ++i) {
      // Rounding, which Adam makes larger where gradients are near zero.
      EXPECT_NEAR(cuda[i], cpu[i], 2e-4 * std::abs(cpu[i])) << objective.name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Likelihoods, Combination, testing::ValuesIn(kLikelihoods),
                         [](const auto& info) {
                           std::string name = likelihood_name(info.param);
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace elbo
