// A value that is not finite, put into every output of every op of a training step in turn: the
// error names exactly that op, and weights and moments are those of the step before. By phase:
//
//   data, forward, loss, backward, weight gradients   EveryOpThatGoesBadIsNamed, one case for each
//   output sums that overflow though their terms are finite  the loss, the gradient norm
//   optimiser                                         the first op that reads what it spoilt
#include <gtest/gtest.h>

#include <limits>

#include "tests/models/trainer_fixture.h"
#include "tests/support/device.h"
#include "tests/support/error_of.h"

namespace elbo {
namespace {

using namespace trainer_test;

constexpr int64_t kBadStep = 2;  // two good steps before it, so that there are moments
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Target {
  std::string op;
  size_t output = 0;

  std::string name() const { return concat(op, ", output ", output); }
};

struct Platform {
  std::string name;
  Device device;
  Precision precision;
  bool convolutional = false;  // with both normalisations
};

void PrintTo(const Platform& platform, std::ostream* out) { *out << platform.name; }

RunConfig config_for(const Platform& platform) {
  RunConfig config = tiny_config();
  config.model.hidden = {24, 16};
  config.model.activation = Activation::silu;  // saves something, and is no epilogue of a library
  if (platform.convolutional) {
    config.model.kind = ModelKind::conv_vae;
    config.model.encoder = {"conv 3 k4 s2 bn silu", "conv 4 k3 s2 gn2 silu"};
    config.model.decoder = {"linear flat silu", "convt 3 k4 s2 bn silu", "convt image k4 s2"};
  }
  config.precision = platform.precision;
  config.train.max_steps = kBadStep + 1;
  config.train.epochs = 1;
  config.output.eval_interval = 0;
  config.graph_steps = 0;  // a replayed graph calls nobody
  return config;
}

// Every output of an op of one step that holds numbers; masks and the like do not.
std::vector<Target> targets_of(const RunConfig& config, Device device) {
  Session session(config, device);
  session.trainer.train_step();
  std::vector<Target> targets;
  session.trainer.tape().set_probe(
      [&](const std::string& path, std::initializer_list<Tensor> writes) {
        size_t output = 0;
        for (const Tensor& tensor : writes) {
          const bool numbers = tensor.dtype == DType::f32 || tensor.dtype == DType::bf16;
          if (numbers && tensor.data) targets.push_back({path, output});
          ++output;
        }
      });
  session.trainer.train_step();
  return targets;
}

struct Injected {
  std::string error;
  bool reached = false;   // the op ran
  bool unchanged = true;  // weights and moments
};

// Trains until the error; `values` go to the front of the target whenever it has been written at
// the bad step, also when the trainer runs that step again to find the culprit.
Injected inject(const RunConfig& config, Device device, const Target& target,
                const std::vector<float>& values) {
  Session session(config, device);
  Trainer& trainer = session.trainer;
  for (int64_t step = 0; step < kBadStep; ++step) trainer.train_step();
  const std::vector<std::byte> before = bytes_of(trainer.snapshot());
  Injected result;
  trainer.tape().set_probe([&](const std::string& path, std::initializer_list<Tensor> writes) {
    if (path != target.op) return;
    result.reached = true;
    const Tensor& tensor = writes.begin()[target.output];
    const size_t count = std::min(values.size(), static_cast<size_t>(tensor.size()));
    if (tensor.dtype == DType::f32) {
      session.context.upload(tensor.data, values.data(), count * sizeof(float));
    } else {
      std::vector<bf16> rounded;
      for (const float v : values) rounded.push_back(from_float<bf16>(v));
      session.context.upload(tensor.data, rounded.data(), count * sizeof(bf16));
    }
  });
  Recorder record;
  result.error = error_of([&] { trainer.run(record); });
  trainer.tape().set_probe(nullptr);
  result.unchanged = bytes_of(trainer.snapshot()) == before;
  return result;
}

std::string message(const std::string& where) {
  return concat("5: step ", kBadStep, ": ", where,
                " is the first value that is not finite; the weights are those of the step before. "
                "Try a smaller --lr, or --clip-grad 1");
}

// On CUDA the latent block works on with dz in shared memory and leaves a copy for whoever asks the
// tape. Sums of a normalisation's backward are its own workspace.
bool may_go_unnoticed(const Target& target) {
  return (target.op.ends_with("/latent_block_backward") && target.output == 0) ||
         (target.op.ends_with("_norm_backward") && target.output == 3);
}

class NanInjection : public testing::TestWithParam<Platform> {
 protected:
  void SetUp() override {
    if (GetParam().device == Device::cuda && !why_no_cuda().empty()) GTEST_SKIP() << why_no_cuda();
  }
  RunConfig config() const { return config_for(GetParam()); }
  Injected inject(const RunConfig& run, const Target& target, const std::vector<float>& values) {
    return elbo::inject(run, GetParam().device, target, values);
  }
};

TEST_P(NanInjection, EveryOpThatGoesBadIsNamed) {
  const std::vector<Target> targets = targets_of(config(), GetParam().device);
  EXPECT_GE(targets.size(), 25u) << "the probe saw too few ops";
  for (const Target& target : targets) {
    const bool short_of_time = GetParam().convolutional && GetParam().device == Device::cuda;
    for (const float bad : {kNan, kInfinity}) {
      if (short_of_time && bad == kInfinity) continue;  // a simulated one is slow
      RunConfig run = config();
      Injected found = inject(run, target, {bad});
      ASSERT_TRUE(found.reached) << target.name();
      if (found.error == "no error") {
        // Nobody read it. With --check-finite it is an error all the same.
        EXPECT_TRUE(may_go_unnoticed(target)) << target.name() << " = " << bad;
        run.check_finite = true;
        found = inject(run, target, {bad});
      }
      EXPECT_EQ(found.error, message(target.name())) << bad;
      EXPECT_TRUE(found.unchanged) << target.name() << " = " << bad;
    }
  }
}

TEST_P(NanInjection, ALossThatOverflowsIsNamed) {
  // Sixteen finite losses whose sum is not.
  Target loss;
  for (const Target& target : targets_of(config(), GetParam().device)) {
    const bool is_loss =
        target.op.ends_with("/bernoulli_nll") || target.op.ends_with("likelihood_layer");
    if (is_loss && target.output == 0) loss = target;
  }
  const Injected found = inject(config(), loss, std::vector<float>(16, 3e38f));
  EXPECT_EQ(found.error, message("the loss"));
  EXPECT_TRUE(found.unchanged);
}

TEST_P(NanInjection, AGradientNormThatOverflowsIsNamed) {
  const char* last_op =
      GetParam().convolutional ? "bwd/encoder.0/conv2d_dweight" : "bwd/encoder.0/linear_dweight";
  const Target last{last_op, 0};                           // read by none but the norm
  const Injected found = inject(config(), last, {1e30f});  // its square is not finite
  EXPECT_EQ(found.error, message("the gradient norm"));
  EXPECT_TRUE(found.unchanged);
}

// What the optimiser itself spoils is seen by the next step, at the first op that reads it.
TEST_P(NanInjection, AWeightThatTheOptimiserSpoilsIsNamedByItsReader) {
  Session session(config(), GetParam().device);
  Trainer& trainer = session.trainer;
  for (int64_t step = 0; step < kBadStep; ++step) trainer.train_step();
  session.context.upload(trainer.params().values(), &kNan, sizeof kNan);
  trainer.params().refresh_shadow();
  const std::vector<std::byte> before = bytes_of(trainer.snapshot());
  Recorder record;
  const char* reader = GetParam().convolutional ? "fwd/encoder.0/conv2d, output 0"
                                                : "fwd/encoder.0/linear, output 0";
  EXPECT_EQ(error_of([&] { trainer.run(record); }), message(reader));
  EXPECT_EQ(bytes_of(trainer.snapshot()), before);
}

std::vector<Platform> platforms() {
  std::vector<Platform> all;
  for (const Device device : available_devices()) {
    const std::string name = device == Device::cuda ? "cuda" : "cpu";
    all.push_back({name + "_fp32", device, Precision::fp32});
    all.push_back({name + "_fp32_conv", device, Precision::fp32, true});
    if (device == Device::cpu) continue;  // knows fp32 only
    all.push_back({name + "_tf32", device, Precision::tf32});
    all.push_back({name + "_bf16", device, Precision::bf16});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Platforms, NanInjection, testing::ValuesIn(platforms()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace elbo
