#include "kernels/latent_block.h"

#include <cmath>

#include "kernels/reparam_kl.h"
#include "tests/kernels/latent_block_fixture.h"
#include "tests/kernels/loss_oracle.h"
#include "tests/support/error_of.h"
#ifdef ELBO_HAS_CUDA
#include "kernels/gpu.h"
#endif

namespace elbo {
namespace {

class LatentBlockTest : public DeviceTest {
 protected:
  // Launches of the device that `run` makes, 0 on the CPU.
  template <class Run>
  static uint64_t launches(const Run& run) {
#ifdef ELBO_HAS_CUDA
    const uint64_t before = gpu::launch_count();
    run();
    return gpu::launch_count() - before;
#else
    run();
    return 0;
#endif
  }

  // What reparam_kl makes of given statistics.
  std::vector<std::vector<float>> sample_of(const BlockShape& s, const std::vector<float>& values) {
    DeviceBuffer<float> stats(device(), values), z(device(), s.batch * s.dim);
    DeviceBuffer<float> kl(device(), s.batch);
    reparam_kl_forward<float>(exec(), {stats.data(), stats.data() + s.dim, 2 * s.dim, z.data(),
                                       kl.data(), s.batch, s.dim, block_noise()});
    return {z.download(), kl.download()};
  }

  void expect_saved(const BlockForward& block, const std::vector<double>& pre,
                    const std::vector<std::byte>& aux, const std::string& what) {
    if (needs_pre_activation(block.activation)) {
      return expect_close(numbers_in<float>(aux), pre, kBlockTolerance, kBlockTolerance,
                          what + ", pre-activation");
    }
    if (aux.empty()) return;
    const int64_t row_bits = 8 * static_cast<int64_t>(relu_mask_row_bytes(block.shape.hidden));
    for (int64_t bit = 0; bit < 8 * static_cast<int64_t>(aux.size()); ++bit) {
      const int64_t row = bit / row_bits, column = bit % row_bits;
      const bool set = (std::to_integer<int>(aux[bit / 8]) >> bit % 8 & 1) != 0;
      const bool pad = column >= block.shape.hidden;
      if (pad && !block.shape.is_small()) continue;  // the library leaves these as they were
      const double value = pad ? -1.0 : pre[row * block.shape.hidden + column];
      if (std::abs(value) < kBlockTolerance) continue;  // rounding may flip the sign
      ASSERT_EQ(set, value > 0) << what << ": mask of row " << row << ", column " << column;
    }
  }

  void check(const BlockForward& block) {
    const std::string what = concat(block.shape.name(), " ", activation_name(block.activation),
                                    ", shift ", block.shift, block.with_aux ? "" : ", no aux");
    const BlockOutputs<double> want = block.run<double>(exec());
    const BlockOutputs<float> got = block.run<float>(exec());
    expect_close(got.stats, want.stats, kBlockTolerance, kBlockTolerance, what + ", stats");
    expect_close(got.y, want.y, kBlockTolerance, kBlockTolerance, what + ", y");
    const auto sample = sample_of(block.shape, got.stats);
    EXPECT_EQ(got.z, sample[0]) << what << ": the noise, or what is made of it";
    for (int64_t b = 0; b < block.shape.batch; ++b) {
      const double kl = sample[1][b];
      EXPECT_NEAR(got.kl[b], kl, oracle::sum_tolerance<float>(block.shape.dim) * kl) << what;
    }
    if (!block.with_aux) return;
    BlockForward identity = block;
    identity.activation = Activation::identity;
    expect_saved(block, identity.run<double>(exec()).y, got.aux, what);
  }
};

TEST_P(LatentBlockTest, IsTheHeadsTheSampleAndTheDecodersLayer) {
  for (const BlockShape& s : kBlocks) check({s, Activation::relu});
  for (const BlockShape& s : kLargeBlocks) check({s, Activation::relu});
}

TEST_P(LatentBlockTest, SavesWhatEachActivationNeeds) {
  for (const BlockShape& s : {BlockShape{3, 8, 4, 140}, BlockShape{2, 5, 3, 37}, kLargeBlocks[0]}) {
    for (const Activation a : kActivations) {
      for (const bool with_aux : {true, false}) check({s, a, with_aux});
    }
  }
}

TEST_P(LatentBlockTest, IsOneLaunchIfItIsSmall) {
  for (const BlockShape& s : kBlocks) {
    const uint64_t found = launches([&] { BlockForward{s}.run<float>(exec()); });
    EXPECT_EQ(found, exec().on_cuda() ? 1 : 0) << s.name();
  }
  for (const BlockShape& s : kLargeBlocks) {
    const uint64_t found = launches([&] { BlockForward{s}.run<float>(exec()); });
    EXPECT_EQ(found, exec().on_cuda() ? 3 : 0) << s.name();
  }
}

TEST_P(LatentBlockTest, AlignmentAndThreadOrderDoNotMatter) {
  for (const BlockShape& s : {BlockShape{9, 132, 20, 64}, BlockShape{6, 36, 6, 33}}) {
    for (const size_t shift : {0, 1, 2}) {
      // A library's products refuse operands like these.
      if (exec().on_cuda() || shift == 0) check({s, Activation::relu, true, shift});
      for_each_order(device(), [&] {
        const BlockOutputs<float> out = BlockForward{s, Activation::relu}.run<float>(exec());
        return std::vector<std::vector<float>>{out.stats, out.z, out.kl, out.y};
      });
    }
  }
}

// Statistics are fp32 sums of exact products. z is one rounding to 8 bits away, relative 2^-8; y
// has that of its own and those of z, which the weights add up to at most a few times 2^-8.
TEST_P(LatentBlockTest, StoresBf16) {
  if (!exec().on_cuda()) {
    expect_no_launch();
    const auto run = [&] { BlockForward{{1, 1, 1, 1}}.run<bf16>(exec()); };
    EXPECT_EQ(error_of(run),
              "1: latent_block_forward: bf16 needs CUDA and at most 512 latents, not 1");
    return;
  }
  for (const BlockShape& s : kBlocks) {
    for (const Activation a : {Activation::relu, Activation::gelu}) {
      for (const size_t shift : {0, 1, 2}) {
        const BlockForward block{s, a, true, shift};
        const BlockOutputs<double> want = block.run<double>(exec());
        const BlockOutputs<bf16> got = block.run<bf16>(exec());
        const std::string what = s.name() + " in bf16";
        expect_close(got.stats, want.stats, kBlockTolerance, kBlockTolerance, what + ", stats");
        expect_close(got.z, want.z, kBlockTolerance, 0x1p-8, what + ", z");
        expect_close(got.y, want.y, 0x1p-6, 0x1p-7, what + ", y");
        if (a != Activation::gelu) continue;
        expect_close(numbers_in<bf16>(got.aux), BlockForward{s}.run<double>(exec()).y, 0x1p-6,
                     0x1p-7, what + ", aux");
      }
    }
  }
}

TEST_P(LatentBlockTest, KeepsNaNs) {
  const BlockShape s{2, 3, 2, 5};
  DeviceBuffer<float> x(device(), {1, NAN, 1, 1, 1, 1}), weights(device(), block_values(12, 1));
  DeviceBuffer<float> stats(device(), 8), z(device(), 4), kl(device(), 2), y(device(), 10);
  LatentBlockForward<float> args{};
  args.x = x.data();
  args.weight = args.bias = args.decoder_weight = args.decoder_bias = weights.data();
  args.stats = stats.data();
  args.z = z.data();
  args.kl = kl.data();
  args.y = y.data();
  args.batch = s.batch;
  args.in = s.in;
  args.dim = s.dim;
  args.hidden = s.hidden;
  args.activation = Activation::relu;
  latent_block_forward(exec(), args);
  for (int64_t i = 0; i < 10; ++i) EXPECT_EQ(std::isnan(y.download()[i]), i < 5) << i;
  for (int64_t b = 0; b < 2; ++b) EXPECT_EQ(std::isnan(kl.download()[b]), b == 0) << b;
}

TEST_P(LatentBlockTest, RefusesMissingOperandsAndSkipsEmptyBatches) {
  expect_no_launch();
  LatentBlockForward<float> args{};
  latent_block_forward(exec(), args);
  args.batch = args.in = args.dim = args.hidden = 1;
  const auto error = [&] { return error_of([&] { latent_block_forward(exec(), args); }); };
  const auto expect_missing = [&](auto& operand, const char* name) {
    EXPECT_EQ(error(), concat("1: latent_block_forward: ", name, " is null"));
    alignas(16) static float memory[4];
    operand = memory;
  };
  expect_missing(args.x, "x");
  expect_missing(args.weight, "the weight");
  expect_missing(args.bias, "the bias");
  expect_missing(args.stats, "stats");
  expect_missing(args.z, "z");
  expect_missing(args.kl, "kl");
  expect_missing(args.decoder_weight, "the decoder's weight");
  expect_missing(args.decoder_bias, "the decoder's bias");
  expect_missing(args.y, "y");
  if (!exec().on_cuda()) return;
  args.aux = args.y + 1;
  EXPECT_EQ(error(), "1: latent_block_forward: an aux is not 16-byte aligned");
}

INSTANTIATE_TEST_SUITE_P(Devices, LatentBlockTest, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
