// latent_block is the three ops that it stands for, and as few launches as it promises.
#include <gtest/gtest.h>

#include "engine/ops/latent_op.h"
#include "engine/ops/linear_op.h"
#include "tests/support/device.h"
#include "tests/support/op_harness.h"
#ifdef ELBO_HAS_CUDA
#include "kernels/gpu.h"
#endif

namespace elbo {
namespace {

constexpr int64_t kBatch = 7, kIn = 20, kDim = 6, kHidden = 36;

NoiseSource noise() {
  NoiseSource source{};
  source.seed = 6;
  return source;
}

LatentBlock fused(OpInputs& in, const Tensor& x, Activation kind) {
  return latent_block(in.tape, in.params, x, {"heads", in.param_ids[0], in.param_ids[1]}, noise(),
                      in.row_weight, {"decoder", in.param_ids[2], in.param_ids[3], kind});
}

LatentBlock composed(OpInputs& in, const Tensor& x, Activation kind) {
  const Tensor stats =
      linear(in.tape, in.params, x, in.param_ids[0], &in.param_ids[1], Activation::identity);
  const LatentSample latent = reparam_kl(in.tape, stats, noise(), in.row_weight);
  return {latent, linear(in.tape, in.params, latent.z, in.param_ids[2], &in.param_ids[3], kind)};
}

using Middle = LatentBlock (*)(OpInputs&, const Tensor&, Activation);

// A layer, the block, a layer; `fan_out` lets z be used once more.
OpCase network(Middle middle, Activation kind, bool fan_out) {
  OpCase net;
  net.leaves = {Shape{kBatch, kIn}};
  net.params = {Shape{2 * kDim, kIn}, Shape{2 * kDim}, Shape{kHidden, kDim}, Shape{kHidden},
                Shape{kIn, kIn},      Shape{kIn},      Shape{kIn, kHidden}};
  net.run = [=](OpInputs& in) {
    const Tensor x =
        linear(in.tape, in.params, in.leaves[0], in.param_ids[4], &in.param_ids[5], kind);
    const LatentBlock block = middle(in, x, kind);
    const Tensor y =
        linear(in.tape, in.params, block.y, in.param_ids[6], nullptr, Activation::identity);
    OpOutputs outputs{{y}, {block.latent.kl}};
    if (fan_out) outputs.seeded.push_back(block.latent.z);
    return outputs;
  };
  return net;
}

void expect_same(const std::vector<std::vector<double>>& got,
                 const std::vector<std::vector<double>>& want, double tolerance,
                 const std::string& what) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    double largest = 0;
    for (double v : want[i]) largest = std::max(largest, std::abs(v));
    EXPECT_GT(largest, 0) << what << " " << i;
    ASSERT_EQ(got[i].size(), want[i].size());
    for (size_t j = 0; j < got[i].size(); ++j) {
      ASSERT_NEAR(got[i][j], want[i][j], tolerance * largest) << what << " " << i << ", " << j;
    }
  }
}

class LatentBlockOp : public testing::TestWithParam<Device> {};

TEST_P(LatentBlockOp, IsTheLayerTheSampleAndTheLayer) {
  if (GetParam() == Device::cuda && !why_no_cuda().empty()) GTEST_SKIP() << why_no_cuda();
  // The CPU runs the three ops. On CUDA sums of at most 36 products have another order, through
  // three layers: 2e-5 of a tensor's largest gradient, as for all ops in op_table_test.cpp.
  const double tolerance = GetParam() == Device::cpu ? 0.0 : 2e-5;
  for (const Activation kind : kActivations) {
    for (const bool fan_out : {false, true}) {
      const std::string what = concat(activation_name(kind), fan_out ? ", z used twice" : "");
      const OpCase net = network(fused, kind, fan_out);
      const OpValues values = draw_values(net, 4);
      const OpGradients got = run_op(net, values, GetParam(), DType::f32);
      const OpGradients want =
          run_op(network(composed, kind, fan_out), values, GetParam(), DType::f32);
      EXPECT_NEAR(got.objective, want.objective, tolerance * (1 + std::abs(want.objective)));
      expect_same(got.leaves, want.leaves, tolerance, what + ": leaf");
      expect_same(got.params, want.params, tolerance, what + ": parameter");
    }
  }
}

#ifdef ELBO_HAS_CUDA
TEST(LatentBlockLaunches, AreFourFewer) {
  if (!why_no_cuda().empty()) GTEST_SKIP() << why_no_cuda();
  const auto launches = [](Middle middle) {
    const OpCase net = network(middle, Activation::relu, false);
    const uint64_t before = gpu::launch_count();
    run_op(net, draw_values(net, 4), Device::cuda, DType::f32);
    return gpu::launch_count() - before;
  };
  // Forward two fewer, backward two fewer: the weights' gradients remain.
  EXPECT_EQ(launches(composed) - launches(fused), 4);
}
#endif

INSTANTIATE_TEST_SUITE_P(Devices, LatentBlockOp, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
