// What rides on a cuBLASLt product, and what happens when the library refuses to carry it. Only the
// simulator's library can be told what to refuse.
#ifdef ELBO_SIM

#include "kernels/gemm_handles.h"
#include "kernels/gpu.h"
#include "tests/kernels/linear_fixture.h"
#include "tests/sim/control.h"

namespace elbo {
namespace {

// cuBLASLt may refuse an epilogue; then the plain product and our own passes must give the same.
class RefusedEpilogueTest : public LinearTest {
 protected:
  void SetUp() override {
    LinearTest::SetUp();
    cudasim::config().plain_products_only = true;
  }
  void TearDown() override {
    cudasim::config().plain_products_only = false;
    LinearTest::TearDown();
  }
};

TEST_P(RefusedEpilogueTest, ForwardIsTheSame) { check_forward(); }
TEST_P(RefusedEpilogueTest, BackwardDataIsTheSame) { check_backward_data_with_input_activation(); }
TEST_P(RefusedEpilogueTest, BackwardWeightIsTheSame) { check_backward_weight(); }

// A refusal is quiet, so a mistake of ours that the library refuses would cost time and nothing else.
class RefusalTest : public LinearTest {
 protected:
  void TearDown() override {
    cudasim::config().plain_products_only = false;
    LinearTest::TearDown();
  }

  // Plans that the library refused, and those of them that are of a layer with a single output.
  struct Refused {
    size_t all = 0, of_one_output = 0;
  };
  Refused refused() {
    Refused count;
    for (const std::string& line : describe_gemm_plans(exec().gemm)) {
      const auto has = [&](const char* text) { return line.find(text) != std::string::npos; };
      if (!has(": refused")) continue;
      ++count.all;
      count.of_one_output += (has(" drelu") && has(" k 1 ")) || (has(" bgradb") && has(" n 1 "));
    }
    return count;
  }
};

TEST_P(RefusalTest, OnlyBackwardOfASingleOutputIsRefused) {
  check_forward();
  check_backward_data_with_input_activation();
  check_backward_weight();
  // Two shapes have one: their data gradients with and without sums of a bias, and their weight gradients
  // written and added.
  EXPECT_EQ(refused().of_one_output, 2u * (2 + 2));
  EXPECT_EQ(refused().all, refused().of_one_output);
}

// The library may refuse at the call what its heuristic had promised.
TEST_P(RefusalTest, ALateOneIsRememberedToo) {
  check_forward();
  EXPECT_EQ(refused().all, 0u);
  cudasim::config().plain_products_only = true;
  check_forward();
  cudasim::config().plain_products_only = false;
  const size_t after = refused().all;
  EXPECT_GT(after, oracle::kShapes.size());
  check_forward();
  EXPECT_EQ(refused().all, after) << "asked once";
}

// The point of the epilogues. A GPU's library may refuse one for a shape, so only the simulator counts.
class EpilogueTest : public LinearTest {};

TEST_P(EpilogueTest, ALayerWithReluIsOneLaunchPerProduct) {
  const LinearShape s{32, 64, 48};
  const std::vector<float> x(s.batch * s.in, 1), w(s.in * s.out, 1), bias(s.out, 1);
  const std::vector<float> dy(s.batch * s.out, 1), unused(s.batch * s.in);
  const auto expect_one_launch = [](const char* what, const auto& run) {
    const uint64_t before = gpu::launch_count();
    run();
    EXPECT_EQ(gpu::launch_count() - before, 1) << what;
  };
  expect_one_launch("forward", [&] { run_forward(s, x, w, &bias, Activation::relu); });

  Saved saved = run_forward({s.batch, 8, s.in}, x, w, nullptr, Activation::relu);
  DeviceBuffer<float> dbias(device(), static_cast<size_t>(s.in));
  const InputActivation input{.activation = Activation::relu,
                              .y = saved.y.data(),
                              .aux = saved.aux.data(),
                              .dbias = dbias.data()};
  expect_one_launch("data gradient with the input's ReLU and bias gradient",
                    [&] { run_backward_data(s, dy, w, unused, GradMode::write, &input); });

  const DeviceBuffer<float> xd(device(), x), dyd(device(), dy);
  DeviceBuffer<float> dw(device(), w.size()), db(device(), static_cast<size_t>(s.out));
  expect_one_launch("weight and bias gradient", [&] {
    linear_backward_weight(exec(), LinearBackwardWeight{.x = xd.data(),
                                                        .dy = dyd.data(),
                                                        .dweight = dw.data(),
                                                        .dbias = db.data(),
                                                        .batch = s.batch,
                                                        .in = s.in,
                                                        .out = s.out});
  });
}

INSTANTIATE_TEST_SUITE_P(Devices, EpilogueTest, testing::Values(Device::cuda), device_name);
INSTANTIATE_TEST_SUITE_P(Devices, RefusalTest, testing::Values(Device::cuda), device_name);
INSTANTIATE_TEST_SUITE_P(Devices, RefusedEpilogueTest, testing::Values(Device::cuda), device_name);

}  // namespace
}  // namespace elbo

#endif  // ELBO_SIM
