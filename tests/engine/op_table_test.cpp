// The same properties for every op of the table: gradients exact in double, right in fp32 on every
// device, and no op without an entry.
#include "tests/support/op_table.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "engine/ops/basis_op.h"
#include "tests/support/device.h"

namespace elbo {
namespace {

// Central differences of fourth order with h = 1e-3 in double: truncation about h^4, rounding about
// eps / h, both near 1e-12 for functions of order one; the largest gradient is not much below one.
constexpr double kGradientTolerance = 1e-8;
// fp32 against double: sums of at most a few hundred products, errors measured in the largest gradient.
constexpr double kFp32Tolerance = 2e-5;

std::string op_name(const testing::TestParamInfo<OpEntry>& info) { return info.param.op; }

// Values whose gradients are smooth around them: a ReLU whose argument crosses zero within the
// difference's reach shows as disagreement between two step sizes, not as an error.
OpValues smooth_values(const OpCase& sample) {
  for (uint64_t seed = 1;; ++seed) {
    OpValues values = draw_values(sample, seed);
    if (gradient_error(sample, values, 1e-3) <= kGradientTolerance) return values;
    if (seed == 8) return values;
  }
}

class OpTable : public testing::TestWithParam<OpEntry> {};

TEST_P(OpTable, BackwardIsTheDerivativeOfForward) {
  for (const OpCase& sample : GetParam().cases) {
    const std::set<std::string> fused = {"linear",     "latent_block", "batch_norm",
                                         "group_norm", "conv2d",       "conv_transpose2d"};
    const bool has_kinks =
        fused.count(GetParam().op) && sample.name.find("relu") != std::string::npos;
    const OpValues values = has_kinks ? smooth_values(sample) : draw_values(sample, 1);
    EXPECT_LE(gradient_error(sample, values), kGradientTolerance) << sample.name;
  }
}

TEST_P(OpTable, Fp32AgreesWithDoubleOnTheCpu) {
  for (const OpCase& sample : GetParam().cases) {
    EXPECT_LE(fp32_error(sample, draw_values(sample, 3), Device::cpu), kFp32Tolerance)
        << sample.name;
  }
}

TEST_P(OpTable, Fp32AgreesWithDoubleOnCuda) {
  if (!why_no_cuda().empty()) GTEST_SKIP() << why_no_cuda();
  for (const OpCase& sample : GetParam().cases) {
    EXPECT_LE(fp32_error(sample, draw_values(sample, 3), Device::cuda), kFp32Tolerance)
        << sample.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Ops, OpTable, testing::ValuesIn(op_table()), op_name);

// "add" of the line "Tensor add(Tape& tape, ..."; empty if the line declares no op.
std::string declared_op(const std::string& line) {
  for (const std::string result : {"Tensor ", "LatentSample ", "LatentBlock "}) {
    const size_t open = line.find('(');
    if (line.rfind(result, 0) != 0 || open == std::string::npos) continue;
    return line.substr(result.size(), open - result.size());
  }
  return "";
}

TEST(OpTableItself, HasAnEntryForEveryOpDeclaredInEngineOps) {
  std::set<std::string> tested;
  for (const OpEntry& entry : op_table()) tested.insert(entry.op);
  // Ops without a derivative to check, which have a test of their own below.
  const std::set<std::string> elsewhere = {"cast", "detach", "scale_grad", "prior_sample",
                                           "scale_grad_rows"};
  std::set<std::string> declared;
  for (const auto& file :
       std::filesystem::directory_iterator(std::string(ELBO_SOURCE_DIR) + "/engine/ops")) {
    if (file.path().extension() != ".h") continue;
    std::ifstream in(file.path());
    for (std::string line; std::getline(in, line);) {
      const std::string name = declared_op(line);
      if (!name.empty()) declared.insert(name);
    }
  }
  EXPECT_GE(declared.size(), 15u) << "the headers were not read";
  for (const std::string& op : declared) {
    EXPECT_TRUE(tested.count(op) || elsewhere.count(op)) << op << " has no entry in the op table";
  }
}

// y = x * detach(x) has derivative x, not 2x; scale_grad changes the gradient and not the value.
TEST(OpTableItself, GradientsThatAreNotDerivatives) {
  OpCase detached;
  detached.leaves = {Shape{2, 3}};
  detached.run = [](OpInputs& in) {
    return OpOutputs{{mul(in.tape, in.leaves[0], detach(in.leaves[0]))}, {}};
  };
  OpCase plain = detached, reversed = detached;
  plain.run = [](OpInputs& in) {
    return OpOutputs{{mul(in.tape, in.leaves[0], in.leaves[0])}, {}};
  };
  reversed.run = [](OpInputs& in) {
    const Tensor x = scale_grad(in.tape, in.leaves[0], -2.0);
    return OpOutputs{{mul(in.tape, x, x)}, {}};
  };
  const OpValues values = draw_values(plain, 1);
  const OpGradients once = run_op(detached, values, Device::cpu, DType::f64);
  const OpGradients twice = run_op(plain, values, Device::cpu, DType::f64);
  const OpGradients back = run_op(reversed, values, Device::cpu, DType::f64);
  EXPECT_EQ(once.objective, twice.objective);
  EXPECT_EQ(back.objective, twice.objective);
  for (size_t i = 0; i < 6; ++i) {
    EXPECT_DOUBLE_EQ(2 * once.leaves[0][i], twice.leaves[0][i]);
    EXPECT_DOUBLE_EQ(-2 * twice.leaves[0][i], back.leaves[0][i]);
  }
}

// Numbers that bf16 holds come through a cast as they are; their gradient is rounded on its way back.
TEST(OpTableItself, ACastPassesOnWhatItsTypeHolds) {
  OpCase plain;
  plain.leaves = {Shape{2, 3}};
  plain.run = [](OpInputs& in) {
    return OpOutputs{{mul(in.tape, in.leaves[0], in.leaves[0])}, {}};
  };
  OpCase through = plain;
  through.run = [](OpInputs& in) {
    const Tensor half = cast(in.tape, in.leaves[0], DType::bf16);
    return OpOutputs{{mul(in.tape, cast(in.tape, half, DType::f32), in.leaves[0])}, {}};
  };
  OpValues values = draw_values(plain, 1);
  values.leaves[0] = {1.5, -2.25, 0, 96, -0.0078125, 3};
  for (const Device device : available_devices()) {
    const OpGradients want = run_op(plain, values, device, DType::f32);
    const OpGradients got = run_op(through, values, device, DType::f32);
    EXPECT_EQ(got.objective, want.objective);
    for (size_t i = 0; i < 6; ++i) {
      EXPECT_NEAR(got.leaves[0][i], want.leaves[0][i], 0.004 * std::abs(want.leaves[0][i])) << i;
    }
  }
}

// The check itself must be able to fail: a backward with the wrong sign, and one that is 1e-6 off.
TEST(GradientCheckItself, NoticesAWrongBackward) {
  for (double factor : {-1.0, 1.0 + 1e-6}) {
    OpCase wrong;
    wrong.leaves = {Shape{2, 3}};
    wrong.run = [factor](OpInputs& in) {
      return OpOutputs{{mul(in.tape, scale_grad(in.tape, in.leaves[0], factor), in.leaves[0])}, {}};
    };
    EXPECT_GT(gradient_error(wrong, draw_values(wrong, 1)), 1e-7) << factor;
  }
}

}  // namespace
}  // namespace elbo
