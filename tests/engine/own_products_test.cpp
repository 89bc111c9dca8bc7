// A network's losses and gradients with our own products against the library's in fp32: weight gradients
// left to the end of backward, weights used twice, gradients accumulated, outputs that are never stored.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/ops/likelihood_op.h"
#include "engine/ops/linear_op.h"
#include "kernels/elementwise.h"
#include "tests/support/device.h"
#ifdef ELBO_HAS_CUDA
#include "kernels/gpu.h"
#endif

namespace elbo {
namespace {

constexpr int64_t kBatch = 9, kWidth = 12, kPixels = 45;
constexpr int kLayers = 18;  // more than one launch of weight gradients takes

class OwnProducts : public testing::Test {
 protected:
  void SetUp() override {
    if (!why_no_cuda().empty()) GTEST_SKIP() << why_no_cuda();
  }

  struct Result {
    double loss = 0.0;
    std::vector<float> gradients;
    uint64_t launches = 0;
  };

  // Forward and backward `passes` times, all but the first adding; the weights of the first layer are
  // those of the third too.
  static Result run(ProductPrecision precision, Likelihood likelihood, int passes) {
    Context context({Device::cuda, 0, ""});
    context.set_products(precision, ProductKernels::own);
    ParamStore params(context);
    Tape tape(context);
    std::vector<ParamStore::Id> weights, biases;
    for (int i = 0; i < kLayers; ++i) {
      weights.push_back(
          params.add("w" + std::to_string(i), {kWidth, kWidth}, {InitKind::normal, 0.3f}));
      biases.push_back(params.add("b" + std::to_string(i), {kWidth}, {InitKind::normal, 0.1f}));
    }
    const ParamStore::Id last = params.add("last", {kPixels, kWidth}, {InitKind::normal, 0.3f});
    const ParamStore::Id last_bias = params.add("last_bias", {kPixels}, {InitKind::normal, 0.1f});
    params.finalise();
    params.initialise(1);

    DeviceBlock data(context, (kBatch * (kWidth + kPixels) + 1) * sizeof(float), Role::data);
    std::vector<float> host(kBatch * (kWidth + kPixels) + 1, 0.25f);  // the last one is the weight
    for (size_t i = 0; i + 1 < host.size(); ++i)
      host[i] = static_cast<float>(i * 37 % 101) / 100.0f;
    context.upload(data.data(), host.data(), data.bytes());
    auto* values = data.as<float>();
    const Tensor x = external_tensor(values, {kBatch, kWidth}, Device::cuda);
    const Tensor target =
        external_tensor(values + kBatch * kWidth, {kBatch, kPixels}, Device::cuda);
    const RowWeight weight{
        external_tensor(values + kBatch * (kWidth + kPixels), {1}, Device::cuda)};

    Result result;
    Tensor nll;
    for (int pass = 0; pass < passes; ++pass) {
      const GradMode mode = pass == 0 ? GradMode::write : GradMode::add;
      const uint64_t before = launches();
      tape.run(static_cast<uint64_t>(pass), [&](Tape& t) {
        Tensor hidden = x;
        for (int i = 0; i < kLayers; ++i) {
          const int shared = i == 2 ? 0 : i;
          hidden = linear(t, params, hidden, weights[shared], &biases[shared], Activation::tanh);
        }
        nll =
            likelihood_layer(t, params, hidden, last, last_bias, target, likelihood, 0.5f, weight);
        t.keep(nll);
        t.backward(params, mode);
      });
      result.launches = launches() - before;
    }
    std::vector<float> losses(static_cast<size_t>(nll.size()));
    context.download(losses.data(), nll.data, nll.bytes());
    for (const float v : losses) result.loss += v;
    result.gradients.resize(static_cast<size_t>(params.span_count()));
    context.download(result.gradients.data(), params.gradients(),
                     result.gradients.size() * sizeof(float));
    return result;
  }

  static uint64_t launches();

  static void expect_near(const Result& got, const Result& want, double tolerance) {
    EXPECT_NEAR(got.loss, want.loss, tolerance * std::abs(want.loss));
    ASSERT_EQ(got.gradients.size(), want.gradients.size());
    double largest = 0.0, worst = 0.0;
    for (size_t i = 0; i < want.gradients.size(); ++i) {
      largest = std::max(largest, std::abs(double{want.gradients[i]}));
      worst = std::max(worst, std::abs(double{got.gradients[i]} - want.gradients[i]));
    }
    EXPECT_LE(worst, tolerance * largest);
    EXPECT_GT(largest, 0.0);
  }
};

uint64_t OwnProducts::launches() {
#ifdef ELBO_HAS_CUDA
  return gpu::launch_count();
#else
  return 0;
#endif
}

// Rounding of 2^-11 per operand, through eighteen layers.
constexpr double kTf32Tolerance = 0x1p-8;

TEST_F(OwnProducts, GradientsAreThoseOfFp32) {
  for (const Likelihood likelihood : {Likelihood::bernoulli, Likelihood::gaussian}) {
    const Result fp32 = run(ProductPrecision::fp32, likelihood, 1);
    const Result tf32 = run(ProductPrecision::tf32, likelihood, 1);
    expect_near(tf32, fp32, kTf32Tolerance);
    EXPECT_NE(tf32.gradients, fp32.gradients) << "nothing was rounded";
  }
}

TEST_F(OwnProducts, GradientsOfSeveralPassesAddUp) {
  const Result once = run(ProductPrecision::tf32, Likelihood::bernoulli, 1);
  Result twice = run(ProductPrecision::tf32, Likelihood::bernoulli, 2);
  for (float& g : twice.gradients) g *= 0.5f;
  expect_near(twice, once, 1e-6);  // the sums of the shared weight round differently
}

// 18 layers and the likelihood forward, 18 data gradients (none for x), and of the 19 weight gradients
// 16 in one launch; the shared weight's second use must wait for the first, which makes two more.
TEST_F(OwnProducts, WeightGradientsShareALaunch) {
  EXPECT_EQ(run(ProductPrecision::tf32, Likelihood::bernoulli, 1).launches, 19u + 18u + 3u);
}

}  // namespace
}  // namespace elbo
