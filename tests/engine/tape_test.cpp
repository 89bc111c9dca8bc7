// The tape's promises: plans, lifetimes, gradient modes, epilogues, names, and no heap in steady state.
#include "engine/tape.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "engine/ops/basis_op.h"
#include "engine/ops/linear_op.h"
#include "tests/support/error_of.h"
#include "tests/support/op_harness.h"

namespace elbo {
namespace {

struct Fixture {
  Context context;
  ParamStore params{context};
  Tape tape{context};
  ParamStore::Id w1, b1, w2;
  std::vector<float> input;

  explicit Fixture(int64_t rows = 4) : input(static_cast<size_t>(rows * 6), 0.5f) {
    w1 = params.add("w1", {5, 6}, {InitKind::normal, 0.3f});
    b1 = params.add("b1", {5}, {InitKind::normal, 0.3f});
    w2 = params.add("w2", {3, 5}, {InitKind::normal, 0.3f});
    params.finalise();
    params.initialise(1);
  }
  Tensor x(int64_t rows = 4) { return external_tensor(input.data(), Shape{rows, 6}, Device::cpu); }
  Tensor network(Tape& t, const Tensor& in) {
    const Tensor hidden = linear(t, params, in, w1, &b1, Activation::tanh);
    return linear(t, params, hidden, w2, nullptr, Activation::identity);
  }
  std::vector<float> gradient(ParamStore::Id id) {
    const Param param = params.param(id);
    const auto* values = param.grad.as<float>();
    return {values, values + param.grad.size()};
  }
};

void train_once(Fixture& f, const std::vector<float>& cotangent, GradMode mode) {
  f.tape.run(7, [&](Tape& tape) {
    const Tensor y = f.network(tape, f.x());
    tape.seed(y, external_tensor(const_cast<float*>(cotangent.data()), y.shape, Device::cpu));
    tape.backward(f.params, mode);
  });
}

TEST(Tape, RunsABodyTwiceForANewSignatureAndOnceAfterwards) {
  Fixture f;
  int calls = 0;
  const auto body = [&](Tape& tape) {
    ++calls;
    f.network(tape, f.x());
  };
  f.tape.run(1, body);
  EXPECT_EQ(calls, 2);
  f.tape.run(1, body);
  EXPECT_EQ(calls, 3);
  f.tape.run(2, body);
  EXPECT_EQ(calls, 5);
}

TEST(Tape, GivesTheSameAddressesInEveryRunOfASignature) {
  Fixture f;
  std::vector<void*> first, second;
  f.tape.run(1, [&](Tape& tape) { first.push_back(f.network(tape, f.x()).data); });
  f.tape.run(1, [&](Tape& tape) { second.push_back(f.network(tape, f.x()).data); });
  EXPECT_EQ(first.back(), second.back());
  EXPECT_EQ(first.front(), nullptr) << "the dry run has no memory";
}

TEST(Tape, ReusesTheMemoryOfBuffersWhoseLifeIsOver) {
  Fixture f;
  f.tape.set_recording(false);
  f.tape.run(1, [&](Tape& tape) {
    Tensor x = f.x();
    for (int i = 0; i < 20; ++i) x = scale(tape, x, 0.5);
    tape.keep(x);
  });
  const LivenessPlan* plan = f.tape.plan(1);
  ASSERT_NE(plan, nullptr);
  EXPECT_EQ(plan->lives.size(), 20u);
  EXPECT_LE(plan->total_bytes, plan->sum_bytes / 5) << "a chain needs two buffers at a time";
}

TEST(Tape, RefusesABodyThatAllocatesDifferentlyForTheSameSignature) {
  Fixture f(8);
  f.tape.run(1, [&](Tape& tape) { f.network(tape, f.x(4)); });
  const std::string error =
      error_of([&] { f.tape.run(1, [&](Tape& tape) { f.network(tape, f.x(8)); }); });
  EXPECT_NE(error.find("differs from the first step of the same signature"), std::string::npos)
      << error;
}

TEST(Tape, WritesGradientsAndAddsThemWhenAskedTo) {
  Fixture f;
  const std::vector<float> cotangent(12, 1.0f);
  train_once(f, cotangent, GradMode::write);
  const std::vector<float> once = f.gradient(f.w1);
  train_once(f, cotangent, GradMode::write);
  EXPECT_EQ(f.gradient(f.w1), once) << "a second backward replaces the first";
  train_once(f, cotangent, GradMode::add);
  const std::vector<float> twice = f.gradient(f.w1);
  for (size_t i = 0; i < once.size(); ++i) EXPECT_FLOAT_EQ(twice[i], 2 * once[i]);
}

TEST(Tape, ClearsTheGradientOfAParameterThatNothingUsed) {
  Fixture f;
  train_once(f, std::vector<float>(12, 1.0f), GradMode::write);
  f.tape.run(9, [&](Tape& tape) {
    const Tensor hidden = linear(tape, f.params, f.x(), f.w1, nullptr, Activation::identity);
    const std::vector<float> ones(20, 1.0f);
    tape.seed(hidden, external_tensor(const_cast<float*>(ones.data()), hidden.shape, Device::cpu));
    tape.backward(f.params);
  });
  for (float g : f.gradient(f.w2)) EXPECT_EQ(g, 0.0f);
  for (float g : f.gradient(f.b1)) EXPECT_EQ(g, 0.0f);
}

TEST(Tape, FusesAnActivationIntoTheNextProductOnlyForASingleConsumer) {
  Fixture f;
  const auto count_ops = [&](uint64_t signature, bool second_consumer) {
    f.tape.run(signature, [&](Tape& tape) {
      const Tensor hidden = linear(tape, f.params, f.x(), f.w1, &f.b1, Activation::tanh);
      const Tensor y = linear(tape, f.params, hidden, f.w2, nullptr, Activation::identity);
      const std::vector<float> ones(20, 1.0f);
      tape.seed(y, external_tensor(const_cast<float*>(ones.data()), y.shape, Device::cpu));
      if (second_consumer) {
        tape.seed(hidden,
                  external_tensor(const_cast<float*>(ones.data()), hidden.shape, Device::cpu));
      }
      tape.backward(f.params);
    });
    return f.tape.op_count();
  };
  // forward 2, seed 1, second layer's two products, first layer's one product; then one more seed and
  // the activation's own pass.
  EXPECT_EQ(count_ops(1, false), 6u);
  EXPECT_EQ(count_ops(2, true), 8u);
}

// A view costs nothing: no op, no buffer, and its gradient is the viewed value's.
TEST(Tape, ReshapesWithoutACopyInEitherDirection) {
  Fixture f;
  const std::vector<float> ones(24, 1.0f);
  f.tape.run(1, [&](Tape& tape) {
    const Tensor x = scale(tape, tape.leaf(f.x()), 2.0);
    const Tensor view = reshape(tape, reshape(tape, x, {2, 3, 4, 1}), {3, 8});
    EXPECT_EQ(view.data, x.data);
    EXPECT_EQ(view.shape, (Shape{3, 8}));
    EXPECT_EQ(tape.op_count(), 1u);
    EXPECT_EQ(tape.buffer_count(), 1u);
    tape.seed(view, external_tensor(const_cast<float*>(ones.data()), view.shape, Device::cpu));
    tape.backward(f.params);
    const Tensor dx = *tape.grad(x);
    EXPECT_EQ(dx.data, tape.grad(view)->data);
    EXPECT_EQ(dx.shape, x.shape);
    EXPECT_EQ(tape.op_count(), 3u) << "scale, the seed, scale's backward";
  });
}

TEST(Tape, KeepsTheMemoryOfAViewedValue) {
  Fixture f;
  f.tape.set_recording(false);
  Tensor y;
  f.tape.run(1, [&](Tape& tape) {
    const Tensor view = flatten(tape, reshape(tape, scale(tape, f.x(), 2.0), {4, 3, 2}));
    EXPECT_EQ(view.shape, (Shape{4, 6}));
    Tensor other = f.x();
    for (int i = 0; i < 5; ++i) other = scale(tape, other, 3.0);  // would reuse memory that is free
    y = scale(tape, view, 4.0);
    tape.keep(y);
  });
  EXPECT_EQ(f.tape.plan(1)->lives[0].last_use, 6);
  for (int64_t i = 0; i < y.size(); ++i) EXPECT_EQ(y.as<float>()[i], 4.0f);
}

TEST(Tape, NamesTheFirstOpWithANonFiniteOutput) {
  Fixture f;
  StepState state;
  f.tape.set_finite_check(&state);
  f.tape.run(1, [&](Tape& tape) { f.network(tape, f.x()); });
  EXPECT_EQ(state.bad_op, 0u);
  f.params.param(f.w2).value.as<float>()[0] = std::numeric_limits<float>::quiet_NaN();
  f.tape.run(1, [&](Tape& tape) {
    const Tape::Scope scope(tape, "net");
    f.network(tape, f.x());
  });
  ASSERT_NE(state.bad_op, 0u);
  EXPECT_EQ(f.tape.describe_bad_op(state.bad_op), "fwd/net/linear, output 0");
}

TEST(Tape, RefusesOpsOutsideOfARun) {
  Fixture f;
  const std::string error = error_of([&] { f.network(f.tape, f.x()); });
  EXPECT_NE(error.find("outside of Tape::run"), std::string::npos) << error;
}

TEST(Tape, EmptyBatchesRunForwardAndBackward) {
  Fixture f;
  f.tape.run(1, [&](Tape& tape) {
    const Tensor y = f.network(tape, f.x(0));
    tape.seed(y, external_tensor<float>(nullptr, y.shape, Device::cpu));
    tape.backward(f.params);
  });
  for (ParamStore::Id id : {f.w1, f.b1, f.w2}) {
    for (float g : f.gradient(id)) EXPECT_EQ(g, 0.0f);
  }
}

#ifdef ELBO_CHECKS
TEST(TapeChecked, NoticesATensorOfAnEarlierRun) {
  Fixture f;
  Tensor kept;
  f.tape.run(1, [&](Tape& tape) { kept = f.network(tape, f.x()); });
  f.tape.run(1, [&](Tape& tape) { f.network(tape, f.x()); });
  EXPECT_NE(error_of([&] { kept.as<float>(); }).find("after its arena was reset"),
            std::string::npos);
}

TEST(TapeChecked, NoticesAnOverrun) {
  Fixture f;
  const std::string error = error_of([&] {
    f.tape.run(1, [&](Tape& tape) {
      const Tensor y = tape.new_value({4, 3}, DType::f32);
      tape.op("bad_op", {}, {y}, [&](const Exec&) { y.as<float>()[12] = 1.0f; });
    });
  });
  EXPECT_NE(error.find("was overrun"), std::string::npos) << error;
  EXPECT_NE(error.find("bad_op"), std::string::npos) << error;
}

TEST(TapeChecked, PoisonsWhatAnOpDidNotName) {
  Fixture f;
  f.tape.set_recording(false);
  float seen = 0;
  f.tape.run(1, [&](Tape& tape) {
    const Tensor a = scale(tape, f.x(), 1.0);
    scale(tape, f.x(), 2.0);
    tape.op("sloppy", {}, {}, [&](const Exec&) { seen = a.as<float>()[0]; });  // a is not named
  });
  EXPECT_TRUE(std::isnan(seen));
}
#endif

}  // namespace
}  // namespace elbo
