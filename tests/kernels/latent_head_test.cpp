#include "kernels/latent_head.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "kernels/reparam_kl.h"
#include "tests/kernels/loss_oracle.h"
#include "tests/support/device.h"
#include "tests/support/error_of.h"
#include "tests/support/values.h"

namespace elbo {
namespace {

struct HeadShape {
  int64_t batch, in, dim;
};

// Around a warp's rows, its groups of eight columns and its vectors of 128 inputs; a Philox call holds
// four dimensions, and 65 of them are more than the lanes of a warp.
const std::vector<HeadShape> kHeads = {{1, 1, 1},    {1, 4, 2},    {3, 5, 3},    {4, 128, 4},
                                       {5, 132, 5},  {7, 33, 9},   {2, 0, 3},    {130, 36, 20},
                                       {9, 400, 20}, {2, 64, 260}, {6, 129, 17}, {1, 12, 513}};

class LatentHeadTest : public DeviceTest {
 protected:
  struct Outputs {
    std::vector<float> stats, z, kl;
    bool operator==(const Outputs&) const = default;
  };

  Outputs run(const HeadShape& s, size_t shift = 0) {
    DeviceBuffer<float> x(device(), random_values(s.batch * s.in, 1), shift);
    DeviceBuffer<float> weight(device(), random_values(2 * s.dim * s.in, 2), shift);
    DeviceBuffer<float> bias(device(), random_values(2 * s.dim, 3));
    DeviceBuffer<float> stats(device(), s.batch * 2 * s.dim), z(device(), s.batch * s.dim);
    DeviceBuffer<float> kl(device(), s.batch);
    LatentHeadForward<float> args{};
    args.x = x.data();
    args.weight = weight.data();
    args.bias = bias.data();
    args.stats = stats.data();
    args.z = z.data();
    args.kl = kl.data();
    args.batch = s.batch;
    args.in = s.in;
    args.dim = s.dim;
    args.noise.seed = 11;
    args.noise.first_row = 3;
    latent_head_forward(exec(), args);
    return {stats.download(), z.download(), kl.download()};
  }

  // What reparam_kl makes of given statistics.
  Outputs sample_of(const HeadShape& s, const std::vector<float>& statistics) {
    DeviceBuffer<float> stats(device(), statistics), z(device(), s.batch * s.dim);
    DeviceBuffer<float> kl(device(), s.batch);
    NoiseSource noise{};
    noise.seed = 11;
    noise.first_row = 3;
    reparam_kl_forward<float>(exec(), {stats.data(), stats.data() + s.dim, 2 * s.dim, z.data(),
                                       kl.data(), s.batch, s.dim, noise});
    return {statistics, z.download(), kl.download()};
  }
};

TEST_P(LatentHeadTest, IsTheLayerAndTheSampleOfIt) {
  for (const HeadShape& s : kHeads) {
    const std::string what = concat(s.batch, " x ", s.in, " to 2 x ", s.dim);
    const auto x = random_values(s.batch * s.in, 1), weight = random_values(2 * s.dim * s.in, 2);
    const auto bias = random_values(2 * s.dim, 3);
    std::vector<double> stats;
    for (int64_t b = 0; b < s.batch; ++b) {
      for (int64_t c = 0; c < 2 * s.dim; ++c) {
        double sum = bias[c];
        for (int64_t k = 0; k < s.in; ++k) sum += double{x[b * s.in + k]} * weight[c * s.in + k];
        stats.push_back(sum);
      }
    }
    const Outputs got = run(s);
    // Products below 1 in chains of at most in / 32 + 5 additions on CUDA; of `in` on the CPU.
    const double rounding = static_cast<double>(s.in + 8) * 0x1p-24;
    expect_close(got.stats, stats, std::sqrt(static_cast<double>(s.in + 1)) * rounding, 0, what);
    const Outputs sample = sample_of(s, got.stats);
    EXPECT_EQ(got.z, sample.z) << what << ": the noise, or what is made of it";
    for (int64_t b = 0; b < s.batch; ++b) {
      EXPECT_NEAR(got.kl[b], sample.kl[b], oracle::sum_tolerance<float>(s.dim) * sample.kl[b])
          << what << " row " << b;
    }
  }
}

TEST_P(LatentHeadTest, AlignmentAndThreadOrderDoNotChangeTheSample) {
  for (const HeadShape& s : {HeadShape{9, 132, 20}, HeadShape{6, 33, 5}}) {
    for (const size_t shift : {0, 1}) {
      for_each_order(device(), [&] {
        const Outputs out = run(s, shift);
        return std::vector<std::vector<float>>{out.stats, out.z, out.kl};
      });
    }
    const Outputs aligned = run(s, 0), shifted = run(s, 2);
    for (size_t i = 0; i < aligned.z.size(); ++i) {
      EXPECT_NEAR(aligned.z[i], shifted.z[i], 1e-4 * (1 + std::abs(aligned.z[i])));
    }
  }
}

TEST_P(LatentHeadTest, RefusesMissingOperandsAndSkipsEmptyBatches) {
  expect_no_launch();
  LatentHeadForward<float> args{};
  latent_head_forward(exec(), args);
  args.batch = 1;
  args.in = 2;
  args.dim = 1;
  const auto error = [&] { return error_of([&] { latent_head_forward(exec(), args); }); };
  EXPECT_EQ(error(), "1: latent_head: an output is null");
  float memory[4] = {};
  args.stats = args.z = args.kl = memory;
  EXPECT_EQ(error(), "1: latent_head: the bias is null");
  args.bias = memory;
  EXPECT_EQ(error(), "1: latent_head: x is null");
  args.x = memory;
  EXPECT_EQ(error(), "1: latent_head: the weight is null");
}

INSTANTIATE_TEST_SUITE_P(Devices, LatentHeadTest, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
