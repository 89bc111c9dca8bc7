// A training loop with batch norm: what running statistics are after good and bad steps, replayed steps
// and resumed runs; on every device.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "engine/ops/linear_op.h"
#include "engine/ops/norm_op.h"
#include "kernels/optimizer.h"
#include "kernels/step_record.h"
#include "models/weights.h"
#include "tests/support/device.h"
#include "tests/support/error_of.h"
#include "tests/support/temp_dir.h"
#include "tests/support/values.h"

namespace elbo {
namespace {

constexpr int64_t kBatch = 8, kIn = 6, kHidden = 5;

// linear, batch norm with SiLU, batch norm by the same layer if `twice`; the gradient at its output is
// a constant.
class Net {
 public:
  explicit Net(Device device, bool graphs = false, bool twice = false)
      : context_({device, 0, ""}),
        params_(context_),
        tape_(context_),
        eval_(context_),
        twice_(twice) {
    linear_ = params_.add("fc.weight", {kHidden, kIn}, {InitKind::normal, 0.5f});
    norm_ = add_batch_norm(params_, "bn", kHidden);
    params_.finalise();
    params_.initialise(4);
    params_.allocate_moments();
    tape_.use_graphs(graphs);
    eval_.set_recording(false);
    input_ = block(random_values(kBatch * kIn, 1));
    cotangent_ = block(random_values(kBatch * kHidden, 2));
    state_ = DeviceBlock(context_, sizeof(StepState), Role::state);
    ring_ = DeviceBlock(context_, 16 * sizeof(LossRecord), Role::state);
    const StepState state;
    context_.upload(state_.data(), &state, sizeof state);
    rule_.learning_rate.base = 0.05f;
    rule_.samples = rule_.batch = kBatch;
    prepare_step(context_.exec(), state_.as<StepState>(), rule_);
  }

  void train(int steps) {
    tape_.run_steps(1, steps, [&](Tape& tape) { step(tape); });
  }

  // By running statistics.
  std::vector<float> evaluate() {
    Tensor y;
    eval_.run(1, [&](Tape& tape) {
      y = batch_norm(tape, params_, hidden(tape), norm_,
                     {.training = false, .activation = Activation::silu});
      tape.keep(y);
    });
    return download<float>(y.data, kBatch * kHidden);
  }

  void set_input(float value) { context_.upload(input_.data(), &value, sizeof value); }
  uint32_t bad_op() { return download<StepState>(state_.data(), 1)[0].bad_op; }
  std::vector<float> running_mean() {
    return download<float>(params_.buffers().value(norm_.running_mean).data, kHidden);
  }
  int64_t batches() { return download<int64_t>(params_.buffers().counter(norm_.batches), 1)[0]; }
  ParamStore& params() { return params_; }
  Context& context() { return context_; }
  const NormParams& norm() const { return norm_; }

  // Weights and buffers as a checkpoint holds them.
  std::vector<NamedBlob> blobs() {
    values_.resize(static_cast<size_t>(params_.span_count()));
    context_.download(values_.data(), params_.values(), values_.size() * sizeof(float));
    buffers_.resize(params_.buffers().bytes());
    params_.buffers().download(buffers_.data());
    std::vector<NamedBlob> blobs;
    for (const ParamStore::Piece& piece : params_.pieces()) {
      blobs.push_back({piece.name, StoredType::f32, dims_of(piece.shape),
                       std::as_bytes(std::span(values_).subspan(
                           static_cast<size_t>(piece.offset), static_cast<size_t>(piece.count)))});
    }
    append_buffers(params_.buffers(), buffers_, blobs);
    return blobs;
  }
  std::string bytes() {
    std::string all;
    for (const NamedBlob& blob : blobs()) {
      all.append(reinterpret_cast<const char*>(blob.bytes.data()), blob.bytes.size());
    }
    return all;
  }

 private:
  DeviceBlock block(const std::vector<float>& values) {
    DeviceBlock block(context_, values.size() * sizeof(float), Role::data);
    context_.upload(block.data(), values.data(), block.bytes());
    return block;
  }
  template <class T>
  std::vector<T> download(const void* from, int64_t count) {
    std::vector<T> values(static_cast<size_t>(count));
    context_.download(values.data(), from, values.size() * sizeof(T));
    return values;
  }
  Tensor hidden(Tape& tape) {
    const Tensor x = external_tensor(input_.as<float>(), Shape{kBatch, kIn}, context_.device());
    return linear(tape, params_, x, linear_, nullptr, Activation::identity);
  }

  void step(Tape& tape) {
    const BatchNormOptions options{.activation = Activation::silu};
    Tensor y = batch_norm(tape, params_, hidden(tape), norm_, options);
    if (twice_) y = batch_norm(tape, params_, y, norm_, options);
    tape.seed(y, external_tensor(cotangent_.as<float>(), y.shape, context_.device()));
    tape.backward(params_);
    StepState* state = state_.as<StepState>();
    tape.op("record", {}, {}, [&](const Exec& exec) {
      StepRecord args;
      args.grad = static_cast<const float*>(params_.gradients());
      args.count = params_.span_count();
      args.batch = kBatch;
      args.state = state;
      args.ring = ring_.as<LossRecord>();
      args.ring_size = 16;
      record_step(exec, args);
    });
    tape.op("commit", {}, {}, [&](const Exec& exec) { params_.buffers().commit(exec, state); });
    tape.op("optimizer", {}, {}, [&](const Exec& exec) {
      OptimizerStep args{};
      args.hyper.kind = OptimizerKind::sgd;
      args.param = static_cast<float*>(params_.values());
      args.grad = static_cast<const float*>(params_.gradients());
      args.count = params_.span_count();
      args.state = state;
      args.next_step = &rule_;
      optimizer_step(exec, args);
    });
  }

  Context context_;
  ParamStore params_;
  Tape tape_, eval_;
  bool twice_;
  ParamStore::Id linear_ = -1;
  NormParams norm_;
  DeviceBlock input_, cotangent_, state_, ring_;
  StepRule rule_;
  std::vector<float> values_;
  std::vector<std::byte> buffers_;
};

class BatchNormTraining : public DeviceTest {};

TEST_P(BatchNormTraining, CountsBatchesAndMovesTowardsTheirMean) {
  Net net(device());
  EXPECT_EQ(net.running_mean(), std::vector<float>(kHidden, 0.0f));
  net.train(1);
  const std::vector<float> first = net.running_mean();
  EXPECT_EQ(net.batches(), 1);
  EXPECT_NE(first, std::vector<float>(kHidden, 0.0f));
  net.train(2);
  EXPECT_EQ(net.batches(), 3);
  EXPECT_NE(net.running_mean(), first);
}

// As PyTorch's forward, every use of a layer counts.
TEST_P(BatchNormTraining, TwoUsesInOneStepCountTwice) {
  Net once(device()), twice(device(), false, true);
  once.train(1);
  twice.train(1);
  EXPECT_EQ(once.batches(), 1);
  EXPECT_EQ(twice.batches(), 2);
  EXPECT_NE(once.running_mean(), twice.running_mean());
}

TEST_P(BatchNormTraining, EvaluationUsesAndKeepsRunningStatistics) {
  Net net(device());
  net.train(3);
  const std::string before = net.bytes();
  const std::vector<float> y = net.evaluate();
  EXPECT_EQ(net.evaluate(), y);
  EXPECT_EQ(net.bytes(), before);
  net.params().buffers().reset();
  EXPECT_NE(net.evaluate(), y) << "it must not be the batch that counts";
}

TEST_P(BatchNormTraining, ABadStepLeavesRunningStatisticsAlone) {
  for (const float bad : {std::nanf(""), HUGE_VALF, 3e38f}) {
    Net net(device());
    net.train(2);
    const std::string before = net.bytes();
    net.set_input(bad);
    net.train(1);
    EXPECT_NE(net.bad_op(), 0u) << bad;
    EXPECT_EQ(net.bytes(), before) << bad;
    EXPECT_EQ(net.batches(), 2);
  }
}

TEST_P(BatchNormTraining, ReplayedStepsGiveTheSameBits) {
  Net plain(device()), graphs(device(), true);
  for (int i = 0; i < 4; ++i) {
    plain.train(2);
    graphs.train(2);
    EXPECT_EQ(graphs.bytes(), plain.bytes()) << "after " << 2 * (i + 1) << " steps";
  }
  EXPECT_EQ(graphs.batches(), 8);
}

TEST_P(BatchNormTraining, AResumedRunGivesTheSameBits) {
  const TempDir dir;
  const std::string path = join_path(dir.path(), "model.safetensors");
  Net whole(device()), resumed(device());
  whole.train(3);
  write_safetensors(real_fs(), path, whole.blobs());
  whole.train(3);
  resumed.train(1);  // whatever it has, the file replaces
  load_weights(resumed.params(), load_safetensors(real_fs(), path), path);
  EXPECT_EQ(resumed.batches(), 3);
  resumed.train(3);
  EXPECT_EQ(resumed.bytes(), whole.bytes());
  EXPECT_EQ(resumed.batches(), 6);
}

TEST_P(BatchNormTraining, FilesWithoutTheBuffersAreRefused) {
  const TempDir dir;
  const std::string path = join_path(dir.path(), "model.safetensors");
  Net net(device());
  std::vector<NamedBlob> blobs = net.blobs();
  const auto load = [&] {
    write_safetensors(real_fs(), path, blobs);
    return error_of([&] { load_weights(net.params(), load_safetensors(real_fs(), path), path); });
  };
  blobs.back().shape = {1};
  EXPECT_NE(load().find("tensor bn.num_batches_tracked is I64 [1]; the model expects I64 []"),
            std::string::npos);
  blobs.pop_back();
  EXPECT_NE(load().find("tensor bn.num_batches_tracked is missing"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Devices, BatchNormTraining, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
