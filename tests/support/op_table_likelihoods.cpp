#include "tests/support/op_table_likelihoods.h"

#include "engine/ops/likelihood_op.h"

namespace elbo {
namespace {

struct Size {
  int64_t rows, cols;
};
constexpr Size kSizes[] = {{0, 3}, {1, 1}, {1, 4}, {3, 1}, {2, 3},  {3, 5},
                           {4, 4}, {2, 7}, {5, 8}, {7, 3}, {2, 17}, {1, 33}};

// Of outputs in the middle and far out in the tails, where bounds and asymptotic branches are.
constexpr double kRanges[] = {4.0, 60.0};

// A single value's gradient may vanish out there, and then differences say nothing about it.
bool says_little(Size size, double range) { return range > 4.0 && size.rows * size.cols == 1; }

OpCase case_of(Size size, int64_t outputs, double range) {
  OpCase sample;
  sample.name = concat(size.rows, "x", size.cols, range > 4.0 ? "_tails" : "");
  sample.leaves = {Shape{size.rows, outputs * size.cols}};
  sample.constants = {Shape{size.rows, size.cols}};
  sample.range = range;
  sample.unit_constants = true;
  return sample;
}

using Nll = Tensor (*)(Tape&, const Tensor&, const Tensor&, const RowWeight&);

OpEntry single_entry(const std::string& op, Nll nll) {
  OpEntry entry{op, {}};
  for (const double range : kRanges) {
    for (const Size size : kSizes) {
      if (says_little(size, range)) continue;
      OpCase sample = case_of(size, 1, range);
      sample.run = [nll](OpInputs& in) {
        return OpOutputs{{}, {nll(in.tape, in.leaves[0], in.constants[0], in.row_weight)}};
      };
      entry.cases.push_back(sample);
      // A second use of the same output: its gradient must add.
      sample.name += "_twice";
      sample.run = [nll](OpInputs& in) {
        const auto loss = [&] {
          return nll(in.tape, in.leaves[0], in.constants[0], in.row_weight);
        };
        return OpOutputs{{}, {loss(), loss()}};
      };
      if (size.cols == 5) entry.cases.push_back(sample);
    }
  }
  return entry;
}

using PairNll = Tensor (*)(Tape&, const Tensor&, const Tensor&, int64_t, const RowWeight&);

OpEntry pair_entry(const std::string& op, PairNll nll) {
  OpEntry entry{op, {}};
  for (const double range : kRanges) {
    for (const Size size : kSizes) {
      for (const int64_t channels : {1, 3, 4}) {
        if (size.cols % channels != 0 || says_little(size, range)) continue;
        OpCase sample = case_of(size, 2, range);
        sample.name += concat("_", channels, "_channels");
        sample.run = [nll, channels](OpInputs& in) {
          return OpOutputs{{},
                           {nll(in.tape, in.leaves[0], in.constants[0], channels, in.row_weight)}};
        };
        entry.cases.push_back(sample);
        sample.name += "_twice";
        sample.run = [nll, channels](OpInputs& in) {
          const auto loss = [&] {
            return nll(in.tape, in.leaves[0], in.constants[0], channels, in.row_weight);
          };
          return OpOutputs{{}, {loss(), loss()}};
        };
        if (size.cols == 3) entry.cases.push_back(sample);
      }
    }
  }
  return entry;
}

// The parameter is used twice, so that its gradient must add.
OpEntry learned_entry() {
  OpEntry entry{"gaussian_learned_nll", {}};
  for (const Size size : kSizes) {
    OpCase sample = case_of(size, 1, 4.0);
    sample.params = {Shape{1}};
    sample.run = [](OpInputs& in) {
      const auto loss = [&] {
        return gaussian_learned_nll(in.tape, in.params, in.leaves[0], in.constants[0],
                                    in.param_ids[0], in.row_weight);
      };
      return OpOutputs{{}, {loss(), loss()}};
    };
    entry.cases.push_back(sample);
  }
  return entry;
}

// In training the gradient is exact where all rows weigh the same: here there is one. By the
// running variance rows may differ.
OpEntry optimal_entry() {
  OpEntry entry{"gaussian_optimal_nll", {}};
  for (const Size size : kSizes) {
    for (const bool training : {true, false}) {
      if (training && size.rows > 1) continue;
      OpCase sample = case_of(size, 1, 4.0);
      sample.name += training ? "_training" : "_running";
      sample.buffers = {Shape{1}};
      sample.run = [training](OpInputs& in) {
        return OpOutputs{{},
                         {gaussian_optimal_nll(in.tape, in.params, in.leaves[0], in.constants[0],
                                               in.buffer_ids[0], training, in.row_weight)}};
      };
      entry.cases.push_back(sample);
    }
  }
  return entry;
}

}  // namespace

std::vector<OpEntry> likelihood_ops() {
  return {
      single_entry("bernoulli_nll", bernoulli_nll),
      single_entry("gaussian_nll",
                   [](Tape& tape, const Tensor& mean, const Tensor& x, const RowWeight& weight) {
                     return gaussian_nll(tape, mean, x, -0.7f, weight);
                   }),
      single_entry("continuous_bernoulli_nll", continuous_bernoulli_nll),
      single_entry("laplace_nll",
                   [](Tape& tape, const Tensor& median, const Tensor& x, const RowWeight& weight) {
                     return laplace_nll(tape, median, x, -0.7f, weight);
                   }),
      learned_entry(),
      optimal_entry(),
      pair_entry("gaussian_diagonal_nll", gaussian_diagonal_nll),
      pair_entry("logistic_nll", logistic_nll),
      pair_entry("beta_nll", beta_nll)};
}

}  // namespace elbo
