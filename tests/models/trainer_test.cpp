// Whole models: gradients, learning, repeatability, resuming, and the same training on every device.
#include "models/trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "engine/ops/latent_op.h"
#include "engine/ops/likelihood_op.h"
#include "engine/ops/linear_op.h"
#include "tests/models/trainer_fixture.h"
#include "tests/support/device.h"
#include "tests/support/error_of.h"
#include "tests/support/op_harness.h"
#include "tests/support/temp_dir.h"

namespace elbo {
namespace {

using namespace trainer_test;

TEST(Trainer, TwoRunsOfOneSeedGiveTheSameBits) {
  Session a(tiny_config()), b(tiny_config());
  Recorder recorder;
  EXPECT_TRUE(a.trainer.run(recorder));
  EXPECT_TRUE(b.trainer.run(recorder));
  EXPECT_EQ(bytes_of(a.trainer.snapshot()), bytes_of(b.trainer.snapshot()));
  RunConfig other = tiny_config();
  other.train.seed = 4;
  Session c(other);
  c.trainer.run(recorder);
  EXPECT_NE(bytes_of(a.trainer.snapshot()), bytes_of(c.trainer.snapshot()));
}

// Saves after k steps, loads in a new trainer and goes on: weights, moments, counters and every later
// report must be those of the run that never stopped.
void expect_resume_is_exact(Device device, int64_t first, int64_t last, int64_t stride) {
  Session whole(tiny_config(), device);
  Recorder whole_record;
  whole.trainer.run(whole_record);
  const std::vector<std::byte> expected = bytes_of(whole.trainer.snapshot());
  const RunState expected_state = whole.trainer.snapshot().state;
  for (int64_t k = first; k <= last; k += stride) {
    const TempDir dir;
    CheckpointWriter writer(real_fs(), dir.path() + "/checkpoints");
    Session before(tiny_config(), device);
    Recorder record_before;
    record_before.trainer = &before.trainer;
    record_before.stop_after = k;
    EXPECT_FALSE(before.trainer.run(record_before));
    const Trainer::Snapshot& saved = before.trainer.snapshot();
    writer.save({saved.model, saved.optimizer, saved.state, ""}, false);

    Session after(tiny_config(), device);
    after.trainer.restore(load_latest_checkpoint(real_fs(), dir.path() + "/checkpoints"));
    Recorder record_after;
    EXPECT_TRUE(after.trainer.run(record_after));
    ASSERT_EQ(bytes_of(after.trainer.snapshot()), expected) << "stopped after step " << k;
    ASSERT_EQ(after.trainer.snapshot().state, expected_state) << "stopped after step " << k;
    std::vector<StepReport> reports = record_before.reports;
    reports.insert(reports.end(), record_after.reports.begin(), record_after.reports.end());
    ASSERT_EQ(reports.size(), whole_record.reports.size());
    for (size_t i = 0; i < reports.size(); ++i) {
      EXPECT_EQ(reports[i].window.loss, whole_record.reports[i].window.loss) << "report " << i;
    }
  }
}

TEST(Trainer, ResumingAfterAnyStepIsBitExact) { expect_resume_is_exact(Device::cpu, 1, 9, 1); }

TEST(Trainer, ResumingOnCudaIsBitExact) {
  if (!why_no_cuda().empty()) GTEST_SKIP() << why_no_cuda();
  expect_resume_is_exact(Device::cuda, 2, 9, 5);
}

TEST(Trainer, TrainsAlikeOnCpuAndCuda) {
  if (!why_no_cuda().empty()) GTEST_SKIP() << why_no_cuda();
  RunConfig config = tiny_config();
  config.train.epochs = 4;  // 20 steps
  config.output.log_interval = 1;
  Session cpu(config, Device::cpu), cuda(config, Device::cuda);
  Recorder cpu_record, cuda_record;
  cpu.trainer.run(cpu_record);
  cuda.trainer.run(cuda_record);
  ASSERT_EQ(cpu_record.reports.size(), 20u);
  ASSERT_EQ(cuda_record.reports.size(), 20u);
  for (size_t i = 0; i < 20; ++i) {
    const double a = cpu_record.reports[i].window.loss, b = cuda_record.reports[i].window.loss;
    // Same noise bits and the same formulas; only orders of summation differ.
    EXPECT_NEAR(a, b, 1e-5 * std::abs(a)) << "step " << i;
  }
}

struct PrecisionCase {
  Precision precision;
  ProductKernels kernels;
  double loss, grad_norm;  // how far from fp32, relative
};

std::string name_of(const PrecisionCase& c) {
  return concat(precision_name(c.precision),
                c.kernels == ProductKernels::vendor ? "_vendor" : "_own");
}
void PrintTo(const PrecisionCase& c, std::ostream* out) { *out << name_of(c); }

class TrainerPrecision : public testing::TestWithParam<PrecisionCase> {};

// 20 steps beside 20 of fp32: every loss and gradient norm, and what evaluation says at the end.
TEST_P(TrainerPrecision, TrainsLikeFp32AndIsRefusedOnTheCpu) {
  const PrecisionCase& c = GetParam();
  RunConfig config = tiny_config();
  config.train.epochs = 4;
  config.output.log_interval = 1;
  config.precision = c.precision;
  config.product_kernels = c.kernels;
  EXPECT_EQ(error_of([&] { Session on_cpu(config, Device::cpu); }),
            concat("2: --precision ", precision_name(c.precision),
                   " needs a CUDA device; the CPU computes in fp32"));
  if (!why_no_cuda().empty()) GTEST_SKIP() << why_no_cuda();
  Session rounded(config, Device::cuda);
  config.precision = Precision::fp32;
  Session fp32(config, Device::cuda);
  Recorder rounded_record, fp32_record;
  rounded.trainer.run(rounded_record);
  fp32.trainer.run(fp32_record);
  EXPECT_EQ(rounded.trainer.snapshot().state.precision, precision_name(c.precision));
  bool differs = false;
  ASSERT_EQ(rounded_record.reports.size(), 20u);
  for (size_t i = 0; i < 20; ++i) {
    const StepReport &want = fp32_record.reports[i], &got = rounded_record.reports[i];
    EXPECT_NEAR(got.window.loss, want.window.loss, c.loss * std::abs(want.window.loss)) << i;
    EXPECT_NEAR(got.window.kl, want.window.kl, c.loss * std::abs(want.window.loss)) << i;
    EXPECT_NEAR(got.grad_norm, want.grad_norm, c.grad_norm * want.grad_norm) << i;
    differs = differs || got.window.loss != want.window.loss;
  }
  EXPECT_TRUE(differs);
  const double test = fp32_record.epochs.back().test.loss;
  EXPECT_NEAR(rounded_record.epochs.back().test.loss, test, c.loss * std::abs(test));
}

// Operands of products are off by 2^-11 in tf32, by 2^-9 in bf16, where what is stored is so once more;
// errors of many terms average out. The library may drop the last bits of tf32 rather than round them.
INSTANTIATE_TEST_SUITE_P(
    Precisions, TrainerPrecision,
    testing::Values(PrecisionCase{Precision::tf32, ProductKernels::vendor, 0x1p-9, 0x1p-6},
                    PrecisionCase{Precision::tf32, ProductKernels::own, 0x1p-10, 0x1p-7},
                    PrecisionCase{Precision::bf16, ProductKernels::automatic, 0x1p-8, 0x1p-5}),
    [](const auto& info) { return name_of(info.param); });

void expect_bf16_agrees_with_fp32(RunConfig config, const std::string& what) {
  config.train.epochs = 1;
  config.output.log_interval = 1;
  Recorder want, got;
  Session fp32(config, Device::cuda);
  fp32.trainer.run(want);
  config.precision = Precision::bf16;
  Session bf16(config, Device::cuda);
  bf16.trainer.run(got);
  ASSERT_EQ(got.reports.size(), want.reports.size());
  for (size_t i = 0; i < want.reports.size(); ++i) {
    const double loss = want.reports[i].window.loss;
    EXPECT_NEAR(got.reports[i].window.loss, loss, 0x1p-7 * std::abs(loss)) << what << i;
  }
}

// bf16 with each kind of model and likelihood: the plain autoencoder has no latent block, and without a
// hidden layer the block's decoder layer is the last one.
TEST(Trainer, Bf16TrainsEveryKindOfModel) {
  if (!why_no_cuda().empty()) GTEST_SKIP() << why_no_cuda();
  for (const ModelKind kind : {ModelKind::mlp_vae, ModelKind::mlp_ae}) {
    for (const Likelihood likelihood : {Likelihood::bernoulli, Likelihood::gaussian}) {
      for (const std::vector<int64_t>& hidden :
           {std::vector<int64_t>{}, std::vector<int64_t>{20, 12}}) {
        RunConfig config = tiny_config();
        config.model.kind = kind;
        config.model.likelihood = likelihood;
        config.model.hidden = hidden;
        config.model.activation = Activation::silu;
        expect_bf16_agrees_with_fp32(
            config, concat(static_cast<int>(kind), " ", static_cast<int>(likelihood), " ",
                           hidden.size(), " "));
      }
    }
  }
}

// The layers of a KL autoencoder around a latent that is a picture, and a decoder that begins with a
// normalised layer, which is no part of a latent block either.
TEST(Trainer, Bf16TrainsWhatHasNoLatentBlock) {
  if (!why_no_cuda().empty()) GTEST_SKIP() << why_no_cuda();
  RunConfig config = tiny_config();
  config.model.encoder = {"conv 4 k3 s2", "res 8 gn2 silu", "attention gn2", "norm gn2 silu",
                          "conv 4 k3"};
  config.model.decoder = {"conv 8 k3", "res 4 gn2 silu", "upsample 2", "norm gn2 silu",
                          "conv image k3"};
  config.model.kind = ModelKind::conv_vae;
  config.model.latent_channels = 2;
  expect_bf16_agrees_with_fp32(config, "picture ");
  config.model.kind = ModelKind::conv_ae;
  config.model.latent_channels = 4;
  expect_bf16_agrees_with_fp32(config, "plain ");
  config.model.kind = ModelKind::conv_vae;
  config.model.latent_channels = 0;
  config.model.encoder = {"conv 4 k4 s2 bn relu"};
  config.model.decoder = {"linear 12 bn relu", "linear flat relu", "convt image k4 s2"};
  expect_bf16_agrees_with_fp32(config, "normalised ");
}

TEST(Trainer, OverfitsOneBatch) {
  for (ModelKind kind : {ModelKind::mlp_vae, ModelKind::mlp_ae}) {
    for (Likelihood likelihood : {Likelihood::bernoulli, Likelihood::gaussian}) {
      RunConfig config = tiny_config();
      config.model.kind = kind;
      config.model.likelihood = likelihood;
      config.model.log_variance = -4.0f;
      config.model.hidden = {64};
      config.model.latent_dim = 8;
      config.train.overfit_batch = true;
      config.train.epochs = 60;  // 300 steps
      config.train.learning_rate = {ScheduleKind::constant, 1e-2f};
      config.output.eval_interval = 0;
      Session session(config);
      Recorder record;
      session.trainer.run(record);
      const LossMeans first = record.reports.front().window, last = record.reports.back().window;
      // Nats per image. Bernoulli: from about 100 (log 2 x 144) down to a few. Gaussian with variance
      // e^-4: constants of -155.7 (72 x (log 2 pi - 4)) plus half the scaled squared error.
      const double floor =
          likelihood == Likelihood::bernoulli ? 0.0 : 72 * (std::log(2 * M_PI) - 4);
      EXPECT_LT(last.recon - floor, 0.15 * (first.recon - floor))
          << "model " << static_cast<int>(kind) << ", likelihood " << static_cast<int>(likelihood);
    }
  }
}

TEST(Trainer, NamesOpTensorAndStepOfANonFiniteValueAndKeepsTheWeights) {
  RunConfig config = tiny_config();
  config.train.learning_rate = {ScheduleKind::constant, 1e-3f};
  Session session(config);
  for (int i = 0; i < 3; ++i) session.trainer.train_step();
  const std::vector<std::byte> good = bytes_of(session.trainer.snapshot());
  const Param weight = session.trainer.params().param(0);
  const float kept = weight.value.as<float>()[0];
  weight.value.as<float>()[0] = std::numeric_limits<float>::infinity();
  Recorder record;
  const std::string error = error_of([&] { session.trainer.run(record); });
  EXPECT_EQ(error.substr(0, error.find(" is the first")), "5: step 3: fwd/fc1/linear, output 0");
  weight.value.as<float>()[0] = kept;
  EXPECT_EQ(bytes_of(session.trainer.snapshot()), good) << "a bad step must not touch the weights";
}

// Whole networks through the tape in double: the gradient of the objective in every parameter.
OpCase whole_vae(Likelihood likelihood, Activation activation) {
  OpCase op;
  op.name = "vae";
  op.leaves = {Shape{3, 10}};
  op.constants = {Shape{3, 10}};
  op.unit_constants = true;
  op.params = {Shape{6, 10}, Shape{6}, Shape{8, 6},  Shape{8},
               Shape{6, 4},  Shape{6}, Shape{10, 6}, Shape{10}};
  op.range = 0.8;
  op.run = [likelihood, activation](OpInputs& in) {
    const auto layer = [&](const Tensor& x, size_t weight, Activation act) {
      return linear(in.tape, in.params, x, in.param_ids[weight], &in.param_ids[weight + 1], act);
    };
    const Tensor stats = layer(layer(in.leaves[0], 0, activation), 2, Activation::identity);
    NoiseSource noise{};
    noise.seed = 11;
    const LatentSample latent = reparam_kl(in.tape, stats, noise, in.row_weight);
    const Tensor output = layer(layer(latent.z, 4, activation), 6, Activation::identity);
    const Tensor nll = likelihood == Likelihood::bernoulli
                           ? bernoulli_nll(in.tape, output, in.constants[0], in.row_weight)
                           : gaussian_nll(in.tape, output, in.constants[0], -1.0f, in.row_weight);
    return OpOutputs{{}, {nll, latent.kl}};
  };
  return op;
}

TEST(WholeVae, GradientsAreExactInDouble) {
  for (Likelihood likelihood : {Likelihood::bernoulli, Likelihood::gaussian}) {
    for (Activation activation : {Activation::tanh, Activation::silu, Activation::softplus}) {
      const OpCase op = whole_vae(likelihood, activation);
      EXPECT_LE(gradient_error(op, draw_values(op, 1)), 1e-8) << activation_name(activation);
    }
  }
}

}  // namespace
}  // namespace elbo
