// quantise: gradients by hand in double, what is learned when, and the same on both devices.
#include "engine/ops/quantise_op.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "engine/ops/loss_op.h"
#include "tests/support/device.h"
#include "tests/support/error_of.h"
#include "tests/support/values.h"

namespace elbo {
namespace {

constexpr int64_t kBatch = 3, kWidth = 8, kDim = 4, kSize = 5, kRows = kBatch * kWidth / kDim;

// A codebook and a batch of vectors, of element type T.
template <class T>
class Subject {
 public:
  explicit Subject(Device device, int64_t dim = kDim)
      : context_({device, 0, ""}),
        params_(context_, sizeof(T) == 8 ? DType::f64 : DType::f32),
        codebook_(add_codebook(params_, "codebook", kSize, dim)) {
    params_.finalise();
    state_ = DeviceBlock(context_, sizeof(StepState), Role::state);
    set_bad_op(0);
    x_ = upload(random_values<T>(kBatch * kWidth, 1));
    one_ = upload(std::vector{T(1)});
    cotangent_ = upload(random_values<T>(kBatch * kWidth, 2));
  }

  struct Result {
    std::vector<T> q, squares, gradient, perplexity;
    std::vector<int32_t> index;
  };

  // One step: the gradient of sum(q cotangent) + 0.3 sum(squares).
  Result step(const CodebookLearning* learning, bool through_q = true,
              bool through_squares = true) {
    Tape tape(context_);
    Result result;
    tape.run(1, [&](Tape& t) {
      const Tensor x = t.leaf(tensor(x_, {kBatch, kWidth}));
      const QuantisedCode code = quantise(t, params_, x, codebook_, learning);
      if (through_q) t.seed(code.q, tensor(cotangent_, {kBatch, kWidth}));
      if (through_squares) weighted_loss(t, code.squares, {tensor(one_, {1}), 0.3});
      for (const Tensor& kept : {code.q, code.squares, code.index}) t.keep(kept);
      if (learning) t.keep(code.perplexity);
      t.backward(params_);
      t.op("commit", {}, {}, [&](const Exec& exec) {
        params_.buffers().commit(exec, state_.template as<StepState>());
      });
      if (!t.grad(x)) return;
      t.keep(*t.grad(x));
      gradient_ = *t.grad(x);
      code_ = code;
    });
    result.q = download<T>(code_.q);
    result.squares = download<T>(code_.squares);
    result.index = download<int32_t>(code_.index);
    result.gradient = download<T>(gradient_);
    if (learning) result.perplexity = download<T>(code_.perplexity);
    return result;
  }

  std::vector<T> codes() { return download<T>(params_.buffers().value(codebook_.codes)); }
  std::vector<T> x() { return random_values<T>(kBatch * kWidth, 1); }
  std::vector<T> cotangent() { return random_values<T>(kBatch * kWidth, 2); }
  std::vector<std::byte> buffers() {
    std::vector<std::byte> bytes(params_.buffers().bytes());
    params_.buffers().download(bytes.data());
    return bytes;
  }
  void discard() { params_.buffers().discard(); }
  void set_bad_op(uint32_t bad_op) {
    StepState state;
    state.bad_op = bad_op;
    context_.upload(state_.data(), &state, sizeof state);
  }

 private:
  DeviceBlock upload(const std::vector<T>& values) {
    DeviceBlock block(context_, values.size() * sizeof(T), Role::data);
    context_.upload(block.data(), values.data(), block.bytes());
    return block;
  }
  template <class V>
  std::vector<V> download(const Tensor& from) {
    std::vector<V> values(static_cast<size_t>(from.size()));
    context_.download(values.data(), from.data, values.size() * sizeof(V));
    return values;
  }
  Tensor tensor(const DeviceBlock& block, Shape shape) {
    return external_tensor(block.as<T>(), shape, context_.device());
  }

  Context context_;
  ParamStore params_;
  Codebook codebook_;
  DeviceBlock state_, x_, one_, cotangent_;
  QuantisedCode code_;
  Tensor gradient_;
};

CodebookLearning learning() {
  CodebookLearning rule;
  rule.decay = 0.9;
  rule.restart = 0.2;
  rule.noise.seed = 7;
  return rule;
}

// dx = dq + 2 * 0.3 (x - q), by hand.
TEST(QuantiseOp, GradientIsStraightThroughAndThatOfTheDistance) {
  for (const bool through_q : {false, true}) {
    for (const bool through_squares : {false, true}) {
      if (!through_q && !through_squares) continue;
      Subject<double> subject(Device::cpu);
      const CodebookLearning rule = learning();
      subject.step(&rule);
      const auto got = subject.step(&rule, through_q, through_squares);
      const std::vector<double> x = subject.x(), cotangent = subject.cotangent();
      for (size_t i = 0; i < x.size(); ++i) {
        const double straight = through_q ? cotangent[i] : 0.0;
        const double pull = through_squares ? 0.6 * (x[i] - got.q[i]) : 0.0;
        EXPECT_NEAR(got.gradient[i], straight + pull, 1e-14) << i;
      }
    }
  }
}

// Against plain loops: which code is nearest, and by how much. What is decoded in a step are the
// codes from before it learns.
TEST(QuantiseOp, UsesTheCodesOfTheStepBefore) {
  Subject<double> subject(Device::cpu);
  const CodebookLearning rule = learning();
  subject.step(&rule);
  const std::vector<double> before = subject.codes(), x = subject.x();
  const auto got = subject.step(&rule);
  EXPECT_NE(subject.codes(), before);
  for (int64_t row = 0; row < kRows; ++row) {
    double best = INFINITY;
    int64_t nearest = -1;
    for (int64_t k = 0; k < kSize; ++k) {
      double square = 0;
      for (int64_t d = 0; d < kDim; ++d) {
        square += std::pow(x[row * kDim + d] - before[d * kSize + k], 2);
      }
      if (square < best) best = square, nearest = k;
    }
    EXPECT_EQ(got.index[row], nearest);
    EXPECT_NEAR(got.squares[row], best, 1e-13);
    for (int64_t d = 0; d < kDim; ++d) {
      EXPECT_EQ(got.q[row * kDim + d], before[d * kSize + nearest]);
    }
  }
}

TEST(QuantiseOp, LearnsOnlyWhereItIsTold) {
  Subject<double> subject(Device::cpu);
  const CodebookLearning rule = learning();
  subject.step(&rule);
  const auto buffers = subject.buffers();
  const auto found = subject.step(nullptr);
  EXPECT_EQ(subject.buffers(), buffers);
  EXPECT_TRUE(found.perplexity.empty());
}

// A step that went bad leaves the codebook as it was, and can be run again.
TEST(QuantiseOp, ABadStepIsNotLearnedFrom) {
  Subject<float> good(Device::cpu), bad(Device::cpu);
  const CodebookLearning rule = learning();
  good.step(&rule);
  bad.step(&rule);
  const auto before = bad.buffers();
  bad.set_bad_op(3);
  bad.step(&rule);
  EXPECT_EQ(bad.buffers(), before);
  bad.discard();
  bad.set_bad_op(0);
  bad.step(&rule);
  good.step(&rule);
  EXPECT_EQ(bad.buffers(), good.buffers());
}

// More codes than one are used, though all begin at zero, and the first step is no exception.
TEST(QuantiseOp, TheFirstBatchIsSpreadOverCodes) {
  Subject<double> subject(Device::cpu);
  const CodebookLearning rule = learning();
  const auto first = subject.step(&rule);
  EXPECT_GT(first.perplexity[0], 4.0);
  double smallest = INFINITY;
  for (const double square : first.squares) smallest = std::min(smallest, square);
  EXPECT_EQ(smallest, 0.0) << "no code is a vector of the batch";
}

TEST(QuantiseOp, CudaAgreesWithTheCpu) {
  if (!why_no_cuda().empty()) GTEST_SKIP() << why_no_cuda();
  Subject<float> cpu(Device::cpu), cuda(Device::cuda);
  const CodebookLearning rule = learning();
  for (int i = 0; i < 3; ++i) {
    const auto want = cpu.step(&rule), got = cuda.step(&rule);
    EXPECT_EQ(got.index, want.index) << i;
    const auto near = [&](const std::vector<float>& a, const std::vector<float>& b) {
      expect_close(a, {b.begin(), b.end()}, 1e-6, 1e-5, "step " + std::to_string(i));
    };
    near(got.q, want.q);
    near(got.squares, want.squares);
    near(got.gradient, want.gradient);
    near(got.perplexity, want.perplexity);
    near(cuda.codes(), cpu.codes());
  }
}

TEST(QuantiseOp, SaysWhatDoesNotFit) {
  Subject<float> subject(Device::cpu, 5);
  EXPECT_EQ(error_of([&] { subject.step(nullptr); }),
            "1: quantise: x is [3, 8], whose values are not rows of 5");
}

}  // namespace
}  // namespace elbo
