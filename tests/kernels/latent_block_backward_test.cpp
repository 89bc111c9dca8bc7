#include <cmath>

#include "kernels/reparam_kl.h"
#include "tests/kernels/latent_block_fixture.h"
#include "tests/support/error_of.h"
#ifdef ELBO_HAS_CUDA
#include "kernels/gpu.h"
#endif

namespace elbo {
namespace {

constexpr GradMode kModes[] = {GradMode::write, GradMode::add};

class LatentBlockBackwardTest : public DeviceTest {
 protected:
  // Errors count in units of the largest expected value: a log-variance of 13 makes gradients of
  // e^6.5, which dx adds to those of other latents.
  template <class T>
  static void expect_near_all(const std::vector<T>& got, const std::vector<double>& want,
                              double tolerance, const std::string& what) {
    double largest = 1;
    for (double v : want) largest = std::max(largest, std::abs(v));
    expect_close(got, want, tolerance * largest, tolerance, what);
  }

  void check(const BlockBackward& block) {
    const std::string what =
        concat(block.shape.name(), " ", activation_name(block.activation), ", shift ", block.shift);
    const BlockGradients<double> want = block.run<double>(exec());
    const BlockGradients<float> got = block.run<float>(exec());
    expect_near_all(got.dz, want.dz, kBlockTolerance, what + ", dz");
    expect_near_all(got.dstats, want.dstats, kBlockTolerance, what + ", dstats");
    expect_near_all(got.dx, want.dx, kBlockTolerance, what + ", dx");
    expect_reparam_kl_of(block, got, what);
  }

  // The same noise as reparam_kl: the same bits of dstats from the same dz.
  void expect_reparam_kl_of(const BlockBackward& block, const BlockGradients<float>& got,
                            const std::string& what) {
    const BlockShape& s = block.shape;
    const DeviceBuffer<float> stats(device(), block.stats()), dz(device(), got.dz);
    const DeviceBuffer<float> dkl(device(), block_values(block.dkl_values, 9));
    DeviceBuffer<float> dstats(device(), s.batch * 2 * s.dim);
    ReparamKlBackward<float> args{};
    args.mu = stats.data();
    args.logvar = stats.data() + s.dim;
    args.row_stride = args.grad_row_stride = 2 * s.dim;
    args.dz = dz.data();
    if (block.dkl_values > 0) args.dkl = {dkl.data(), block.dkl_values > 1 ? 1 : 0, 0.5f};
    args.dmu = dstats.data();
    args.dlogvar = dstats.data() + s.dim;
    args.batch = s.batch;
    args.dim = s.dim;
    args.noise = block_noise();
    reparam_kl_backward(exec(), args);
    EXPECT_EQ(bytes_of(dstats.download()), bytes_of(got.dstats)) << what;
  }
};

TEST_P(LatentBlockBackwardTest, IsTheGradientOfTheThreeLayers) {
  for (const BlockShape& s : kBlocks) check({s, Activation::relu});
  for (const BlockShape& s : kLargeBlocks) check({s, Activation::relu});
}

TEST_P(LatentBlockBackwardTest, UndoesEveryActivationOfItsInput) {
  for (const BlockShape& s : {BlockShape{3, 140, 4, 8}, BlockShape{5, 37, 3, 5}, kLargeBlocks[0]}) {
    for (const Activation a : kActivations) check({s, a});
    check({s, Activation::relu, false});
  }
}

TEST_P(LatentBlockBackwardTest, AddsToGradientsThatAreThere) {
  for (const BlockShape& s : {BlockShape{3, 16, 4, 8}, BlockShape{2, 7, 5, 0}, kLargeBlocks[0]}) {
    for (const GradMode dz_mode : kModes) {
      for (const GradMode dx_mode : kModes) {
        for (const int64_t dkl_values : {int64_t{0}, int64_t{1}, s.batch}) {
          check({s, Activation::identity, true, dz_mode, dx_mode, dkl_values});
        }
      }
    }
  }
}

TEST_P(LatentBlockBackwardTest, AlignmentAndThreadOrderDoNotMatter) {
  for (const BlockShape& s : {BlockShape{9, 132, 20, 64}, BlockShape{6, 36, 6, 33}}) {
    for (const size_t shift : {0, 1, 2}) {
      for (const Activation a : {Activation::relu, Activation::silu}) {
        BlockBackward block{s, a};
        block.shift = shift;
        // A library's products refuse operands like these.
        if (exec().on_cuda() || shift == 0) check(block);
        for_each_order(device(), [&] {
          const BlockGradients<float> out = block.run<float>(exec());
          return std::vector<std::vector<float>>{out.dz, out.dstats, out.dx};
        });
      }
    }
  }
}

TEST_P(LatentBlockBackwardTest, LeavesAnInputAloneThatWantsNoGradient) {
  BlockBackward block{{3, 16, 4, 8}};
  block.wants_dx = false;
  const BlockGradients<float> got = block.run<float>(exec());
  for (const float v : got.dx) EXPECT_TRUE(std::isnan(v)) << "dx was written";
  block.wants_dx = true;
  EXPECT_EQ(got.dstats, block.run<float>(exec()).dstats);
}

#ifdef ELBO_HAS_CUDA
TEST_P(LatentBlockBackwardTest, IsOneLaunchIfItIsSmall) {
  const auto launches = [&](const BlockShape& s) {
    const uint64_t before = gpu::launch_count();
    BlockBackward{s, Activation::relu}.run<float>(exec());
    return gpu::launch_count() - before;
  };
  for (const BlockShape& s : kBlocks) EXPECT_EQ(launches(s), exec().on_cuda() ? 1 : 0) << s.name();
  for (const BlockShape& s : kLargeBlocks) EXPECT_LE(launches(s), exec().on_cuda() ? 4 : 0);
}
#endif

// All three are fp32 sums of exact products, rounded when they are stored: 2^-8 relative.
TEST_P(LatentBlockBackwardTest, StoresBf16) {
  if (!exec().on_cuda()) {
    expect_no_launch();
    const auto run = [&] { BlockBackward{{1, 1, 1, 1}}.run<bf16>(exec()); };
    EXPECT_EQ(error_of(run),
              "1: latent_block_backward: bf16 needs CUDA and at most 512 latents, not 1");
    return;
  }
  for (const BlockShape& s : kBlocks) {
    for (const Activation a : {Activation::relu, Activation::gelu}) {
      for (const size_t shift : {0, 1, 2}) {
        BlockBackward block{s, a};
        block.shift = shift;
        const BlockGradients<double> want = block.run<double>(exec());
        const BlockGradients<bf16> got = block.run<bf16>(exec());
        const std::string what = s.name() + " in bf16";
        expect_close(got.dstats, want.dstats, kBlockTolerance, 0x1p-8, what + ", dstats");
        expect_close(got.dz, want.dz, kBlockTolerance, 0x1p-8, what + ", dz");
        expect_near_all(got.dx, want.dx, 0x1p-8, what + ", dx");
      }
    }
  }
}

TEST_P(LatentBlockBackwardTest, RefusesMissingOperandsAndSkipsEmptyBatches) {
  expect_no_launch();
  LatentBlockBackward<float> args{};
  latent_block_backward(exec(), args);
  args.batch = args.in = args.dim = args.hidden = 1;
  alignas(16) float memory[4];
  const auto error = [&] { return error_of([&] { latent_block_backward(exec(), args); }); };
  const auto expect_missing = [&](auto& operand, const char* name) {
    EXPECT_EQ(error(), concat("1: latent_block_backward: ", name, " is null"));
    operand = memory;
  };
  args.dx = memory;
  expect_missing(args.dy, "dy");
  expect_missing(args.decoder_weight, "the decoder's weight");
  expect_missing(args.stats, "stats");
  expect_missing(args.dz, "dz");
  expect_missing(args.dstats, "dstats");
  args.x_activation = Activation::tanh;
  args.dx_mode = GradMode::add;
  expect_missing(args.weight, "the weight");
  EXPECT_EQ(
      error(),
      "1: latent_block_backward: x's activation cannot be undone on top of an earlier gradient");
  args.dx_mode = GradMode::write;
  expect_missing(args.x, "x");
  args.x_activation = Activation::gelu;
  expect_missing(args.x_aux, "x_aux");
}

INSTANTIATE_TEST_SUITE_P(Devices, LatentBlockBackwardTest, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
