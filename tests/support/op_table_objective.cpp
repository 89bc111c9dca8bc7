#include "tests/support/op_table_objective.h"

#include "engine/ops/aggregate_op.h"
#include "engine/ops/basis_op.h"
#include "engine/ops/contractive_op.h"
#include "engine/ops/density_op.h"
#include "engine/ops/linear_op.h"
#include "engine/ops/loss_op.h"
#include "engine/ops/parameter_op.h"

namespace elbo {
namespace {

struct Size {
  int64_t rows, cols;
};
constexpr Size kSizes[] = {{1, 1}, {1, 4}, {3, 1}, {2, 3}, {5, 8}, {7, 3}, {2, 17}};

std::string size_name(Size size) { return concat(size.rows, "x", size.cols); }

using Run = std::function<OpOutputs(OpInputs&)>;

// Cases whose leaves depend on the size.
OpEntry entry_of(const std::string& op, const std::function<std::vector<Shape>(Size)>& leaves,
                 const Run& run, double range = 1.0, double keep_away = 0.0) {
  OpEntry entry{op, {}};
  for (const Size size : kSizes) {
    OpCase sample;
    sample.name = size_name(size);
    sample.leaves = leaves(size);
    sample.range = range;
    sample.keep_away = keep_away;
    sample.run = run;
    entry.cases.push_back(sample);
  }
  return entry;
}

std::vector<Shape> one_matrix(Size size) { return {Shape{size.rows, size.cols}}; }
std::vector<Shape> stats_only(Size size) { return {Shape{size.rows, 2 * size.cols}}; }
std::vector<Shape> z_and_stats(Size size) {
  return {Shape{size.rows, size.cols}, Shape{size.rows, 2 * size.cols}};
}
// A mixture of another number of components than there are rows.
std::vector<Shape> z_and_mixture(Size size) {
  return {Shape{size.rows, size.cols}, Shape{size.rows + 2, 2 * size.cols}};
}

void add_pairwise(std::vector<OpEntry>& table) {
  OpEntry pairs{"pairwise_log_density", {}};
  for (const Pairing pairing : {Pairing::joint, Pairing::per_dimension}) {
    OpEntry part = entry_of("", z_and_mixture, [pairing](OpInputs& in) {
      const PairWeights weights = PairWeights::stratified(in.leaves[1].shape[0], 100);
      return OpOutputs{
          {pairwise_log_density(in.tape, in.leaves[0], in.leaves[1], pairing, weights)}, {}};
    });
    for (OpCase& sample : part.cases) {
      sample.name += pairing == Pairing::joint ? "_joint" : "_per_dimension";
      pairs.cases.push_back(sample);
    }
  }
  // Variances beyond the knee of bounded_logvar. The means are left alone: under a variance of e^-11 the
  // rounding of a large mean alone moves a density by more than what is compared here.
  OpEntry wide = entry_of(
      "", z_and_mixture,
      [](OpInputs& in) {
        const Tensor& stats = in.leaves[1];
        const int64_t dim = stats.shape[1] / 2;
        const Tensor mu = slice_cols(in.tape, stats, 0, dim);
        const Tensor logvar = scale(in.tape, slice_cols(in.tape, stats, dim, 2 * dim), 6.0);
        return OpOutputs{
            {pairwise_log_density(in.tape, in.leaves[0], concat_cols(in.tape, mu, logvar),
                                  Pairing::joint, PairWeights::uniform(stats.shape[0]))},
            {}};
      },
      2.0);
  for (OpCase& sample : wide.cases) {
    sample.name += "_wide";
    pairs.cases.push_back(sample);
  }
  table.push_back(pairs);
}

void add_aggregates(std::vector<OpEntry>& table) {
  table.push_back(entry_of("mean_kl", stats_only, [](OpInputs& in) {
    return OpOutputs{{mean_kl(in.tape, in.leaves[0])}, {}};
  }));
  OpEntry covariances{"covariance", {}};
  for (const Spread spread : {Spread::means, Spread::samples}) {
    OpEntry part = entry_of("", stats_only, [spread](OpInputs& in) {
      return OpOutputs{{covariance(in.tape, in.leaves[0], spread)}, {}};
    });
    for (OpCase& sample : part.cases) {
      sample.name += spread == Spread::means ? "_means" : "_samples";
      covariances.cases.push_back(sample);
    }
  }
  table.push_back(covariances);
  table.push_back(entry_of(
      "dip_penalty",
      [](Size size) {
        return std::vector<Shape>{{size.cols, size.cols}};
      },
      [](OpInputs& in) {
        return OpOutputs{{dip_penalty(in.tape, in.leaves[0], {0.7f, 3.0f})}, {}};
      }));
  OpEntry distances = entry_of(
      "mmd", one_matrix,
      [](OpInputs& in) {
        return OpOutputs{{mmd(in.tape, in.leaves[0], in.constants[0])}, {}};
      },
      2.0);
  for (OpCase& sample : distances.cases) sample.constants = sample.leaves;
  table.push_back(distances);
}

void add_terms(std::vector<OpEntry>& table) {
  OpEntry losses = entry_of("weighted_loss", one_matrix, [](OpInputs& in) {
    const Tensor rows = sum_rows(in.tape, in.leaves[0]);
    weighted_loss(in.tape, rows, in.row_weight);
    return OpOutputs{{}, {rows}};
  });
  table.push_back(losses);
  table.push_back(entry_of("shift", one_matrix, [](OpInputs& in) {
    return OpOutputs{{shift(in.tape, in.leaves[0], -0.7)}, {}};
  }));
  // floor and target 0: kinks that keep_away keeps away from
  table.push_back(entry_of(
      "at_least", one_matrix,
      [](OpInputs& in) {
        return OpOutputs{{at_least(in.tape, in.leaves[0], 0.0f)}, {}};
      },
      1.0, 0.05));
  OpEntry distances = entry_of(
      "distance", one_matrix,
      [](OpInputs& in) {
        return OpOutputs{{distance(in.tape, in.leaves[0], scale(in.tape, in.constants[0], 0.0))},
                         {}};
      },
      1.0, 0.05);
  for (OpCase& sample : distances.cases) sample.constants = {Shape{1}};
  table.push_back(distances);
  table.push_back(entry_of(
      "l1_rows", one_matrix,
      [](OpInputs& in) {
        return OpOutputs{{l1_rows(in.tape, in.leaves[0])}, {}};
      },
      1.0, 0.05));
  table.push_back(entry_of("mean_rows", one_matrix, [](OpInputs& in) {
    return OpOutputs{{mean_rows(in.tape, in.leaves[0])}, {}};
  }));
  table.push_back(entry_of("bernoulli_kl", one_matrix, [](OpInputs& in) {
    const Tensor x = activation(in.tape, in.leaves[0], Activation::sigmoid);
    return OpOutputs{{bernoulli_kl(in.tape, 0.1f, x)}, {}};
  }));
}

// The slope of tanh, sigmoid and softplus, which bend; relu's is a constant.
void add_contractive(std::vector<OpEntry>& table) {
  OpEntry slopes{"activation_slope", {}};
  for (const Activation kind : {Activation::tanh, Activation::sigmoid, Activation::softplus,
                                Activation::leaky_relu, Activation::identity}) {
    OpEntry part = entry_of(
        "", one_matrix,
        [kind](OpInputs& in) {
          const Tensor y = activation(in.tape, in.leaves[0], kind);
          return OpOutputs{{activation_slope(in.tape, y, kind)}, {}};
        },
        1.0, 0.05);
    for (OpCase& sample : part.cases) {
      sample.name += concat("_", activation_name(kind));
      slopes.cases.push_back(sample);
    }
  }
  table.push_back(slopes);
  OpEntry norms = entry_of("jacobian_norm", one_matrix, [](OpInputs& in) {
    return OpOutputs{{jacobian_norm(in.tape, in.params, in.leaves[0], in.param_ids[0])}, {}};
  });
  for (OpCase& sample : norms.cases) sample.params = {Shape{sample.leaves[0][1], 5}};
  table.push_back(norms);
}

// Used twice, so that its gradient must add.
void add_parameter(std::vector<OpEntry>& table) {
  OpEntry entry = entry_of("parameter", one_matrix, [](OpInputs& in) {
    const auto value = [&] {
      return parameter(in.tape, in.params, in.param_ids[0], Activation::sigmoid);
    };
    return OpOutputs{{mul(in.tape, in.leaves[0], value()), value()}, {}};
  });
  for (OpCase& sample : entry.cases) sample.params = {sample.leaves[0]};
  table.push_back(entry);
}

}  // namespace

std::vector<OpEntry> objective_ops() {
  std::vector<OpEntry> table;
  add_parameter(table);
  add_contractive(table);
  table.push_back(entry_of("log_density", z_and_stats, [](OpInputs& in) {
    return OpOutputs{{log_density(in.tape, in.leaves[0], in.leaves[1])}, {}};
  }));
  table.push_back(entry_of("prior_log_density", one_matrix, [](OpInputs& in) {
    return OpOutputs{{prior_log_density(in.tape, in.leaves[0])}, {}};
  }));
  add_pairwise(table);
  table.push_back(entry_of("mixture_log_density", z_and_mixture, [](OpInputs& in) {
    const PairWeights weights = PairWeights::uniform(in.leaves[1].shape[0]);
    return OpOutputs{{mixture_log_density(in.tape, in.leaves[0], in.leaves[1], weights)}, {}};
  }));
  add_aggregates(table);
  add_terms(table);
  return table;
}

}  // namespace elbo
