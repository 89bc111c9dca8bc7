#include "tests/support/op_table.h"

#include "engine/ops/basis_op.h"
#include "engine/ops/condition_op.h"
#include "engine/ops/latent_op.h"
#include "engine/ops/likelihood_op.h"
#include "engine/ops/linear_op.h"
#include "tests/support/op_table_conv.h"
#include "tests/support/op_table_likelihoods.h"
#include "tests/support/op_table_objective.h"
#include "tests/support/op_table_pictures.h"

namespace elbo {
namespace {

// Row counts and widths around what kernels treat specially, small enough for element-wise checks.
struct Size {
  int64_t rows, cols;
};
constexpr Size kSizes[] = {{0, 3}, {1, 1}, {1, 4}, {3, 1}, {2, 3},  {3, 5},
                           {4, 4}, {2, 7}, {5, 8}, {7, 3}, {2, 17}, {1, 33}};
constexpr Activation kActivations[] = {
    Activation::identity, Activation::relu, Activation::leaky_relu, Activation::tanh,
    Activation::sigmoid,  Activation::silu, Activation::gelu,       Activation::softplus};

std::string size_name(Size size) { return concat(size.rows, "x", size.cols); }

OpEntry unary(const std::string& op, Tensor (*apply)(Tape&, const Tensor&)) {
  OpEntry entry{op, {}};
  for (Size size : kSizes) {
    OpCase sample;
    sample.name = size_name(size);
    sample.leaves = {Shape{size.rows, size.cols}};
    sample.run = [apply](OpInputs& in) { return OpOutputs{{apply(in.tape, in.leaves[0])}, {}}; };
    entry.cases.push_back(sample);
  }
  return entry;
}

OpEntry binary(const std::string& op, Tensor (*apply)(Tape&, const Tensor&, const Tensor&)) {
  OpEntry entry{op, {}};
  for (Size size : kSizes) {
    OpCase sample;
    sample.name = size_name(size);
    sample.leaves = {Shape{size.rows, size.cols}, Shape{size.rows, size.cols}};
    sample.run = [apply](OpInputs& in) {
      return OpOutputs{{apply(in.tape, in.leaves[0], in.leaves[1])}, {}};
    };
    entry.cases.push_back(sample);
    // The same tensor twice: the second contribution to its gradient must add.
    sample.name += "_same_operand";
    sample.leaves.pop_back();
    sample.run = [apply](OpInputs& in) {
      return OpOutputs{{apply(in.tape, in.leaves[0], in.leaves[0])}, {}};
    };
    entry.cases.push_back(sample);
  }
  return entry;
}

OpEntry activation_entry() {
  OpEntry entry{"activation", {}};
  for (Activation kind : kActivations) {
    for (Size size : kSizes) {
      OpCase sample;
      sample.name = concat(activation_name(kind), "_", size_name(size));
      sample.leaves = {Shape{size.rows, size.cols}};
      sample.range = 3.0;
      sample.keep_away = 0.05;  // ten difference steps and more from the kink of ReLU
      sample.run = [kind](OpInputs& in) {
        return OpOutputs{{activation(in.tape, in.leaves[0], kind)}, {}};
      };
      entry.cases.push_back(sample);
    }
  }
  return entry;
}

// One layer, and two in a row: there the first one's activation rides in the second one's product.
OpEntry linear_entry() {
  OpEntry entry{"linear", {}};
  for (Activation kind : kActivations) {
    // Kinks cannot be kept away from inside a product; ReLUs are covered by activation() and, as
    // a whole, by kernels' own tests. Their slopes are checked here where no kink is near.
    for (Size size : kSizes) {
      const int64_t out = size.cols % 4 + 2;
      OpCase one;
      one.name = concat(activation_name(kind), "_", size_name(size), "_to_", out);
      one.leaves = {Shape{size.rows, size.cols}};
      one.params = {Shape{out, size.cols}, Shape{out}};
      one.run = [kind](OpInputs& in) {
        const Tensor y =
            linear(in.tape, in.params, in.leaves[0], in.param_ids[0], &in.param_ids[1], kind);
        return OpOutputs{{y}, {}};
      };
      entry.cases.push_back(one);
      OpCase two = one;
      two.name += "_then_3";
      two.params.push_back(Shape{3, out});
      two.run = [kind](OpInputs& in) {
        const Tensor hidden =
            linear(in.tape, in.params, in.leaves[0], in.param_ids[0], &in.param_ids[1], kind);
        const Tensor y =
            linear(in.tape, in.params, hidden, in.param_ids[2], nullptr, Activation::identity);
        return OpOutputs{{y}, {}};
      };
      entry.cases.push_back(two);
      OpCase shared = two;  // the hidden layer has two consumers: nothing may be fused
      shared.name += "_shared";
      shared.run = [kind](OpInputs& in) {
        const Tensor hidden =
            linear(in.tape, in.params, in.leaves[0], in.param_ids[0], &in.param_ids[1], kind);
        const Tensor y =
            linear(in.tape, in.params, hidden, in.param_ids[2], nullptr, Activation::identity);
        const Tensor w =
            linear(in.tape, in.params, hidden, in.param_ids[2], nullptr, Activation::tanh);
        return OpOutputs{{y, w}, {}};
      };
      entry.cases.push_back(shared);
    }
  }
  return entry;
}

OpEntry reparam_entry() {
  OpEntry entry{"reparam_kl", {}};
  for (Size size : kSizes) {
    OpCase sample;
    sample.name = size_name(size);
    sample.leaves = {Shape{size.rows, 2 * size.cols}};
    sample.range = 2.0;
    sample.run = [](OpInputs& in) {
      NoiseSource noise{};
      noise.seed = 5;
      const LatentSample latent = reparam_kl(in.tape, in.leaves[0], noise, in.row_weight);
      return OpOutputs{{latent.z}, {latent.kl}};
    };
    entry.cases.push_back(sample);
    sample.name += "_wide_logvar";  // where the log-variance is compressed
    sample.range = 14.0;
    entry.cases.push_back(sample);
  }
  return entry;
}

// Parameters of a latent block from `in` inputs by way of `dim` latents to `hidden` units.
std::vector<Shape> block_params(int64_t in, int64_t dim, int64_t hidden) {
  return {Shape{2 * dim, in}, Shape{2 * dim}, Shape{hidden, dim}, Shape{hidden}};
}

LatentBlock run_block(OpInputs& in, const Tensor& x, Activation kind) {
  NoiseSource noise{};
  noise.seed = 6;
  const LayerParams heads{"heads", in.param_ids[0], in.param_ids[1], Activation::identity};
  const LayerParams decoder{"decoder", in.param_ids[2], in.param_ids[3], kind};
  return latent_block(in.tape, in.params, x, heads, noise, in.row_weight, decoder);
}

// Alone, and between two layers whose activations it undoes and leaves to be undone. `shared` has
// other consumers of x, z and y, so that nothing may be fused and gradients must add; without_y has
// none of y.
std::vector<OpCase> latent_block_cases(Activation kind, Size size) {
  const int64_t in = size.cols + 3, hidden = size.cols % 4 + 2;
  OpCase alone;
  alone.name = concat(activation_name(kind), "_", size_name(size), "_to_", hidden);
  alone.leaves = {Shape{size.rows, in}};
  alone.params = block_params(in, size.cols, hidden);
  alone.run = [kind](OpInputs& inputs) {
    const LatentBlock block = run_block(inputs, inputs.leaves[0], kind);
    return OpOutputs{{block.y}, {block.latent.kl}};
  };
  const auto between = [&](const char* name, bool shared, bool with_y) {
    OpCase sample = alone;
    sample.name += name;
    sample.params.insert(sample.params.end(), {Shape{in, in}, Shape{in}, Shape{3, hidden}});
    sample.run = [=](OpInputs& inputs) {
      const Tensor x = linear(inputs.tape, inputs.params, inputs.leaves[0], inputs.param_ids[4],
                              &inputs.param_ids[5], kind);
      const LatentBlock block = run_block(inputs, x, kind);
      OpOutputs outputs{{block.latent.z}, {block.latent.kl}};
      if (with_y) {
        outputs.seeded[0] = linear(inputs.tape, inputs.params, block.y, inputs.param_ids[6],
                                   nullptr, Activation::identity);
      }
      if (shared) outputs.seeded.insert(outputs.seeded.end(), {x, block.latent.z, block.y});
      return outputs;
    };
    return sample;
  };
  return {alone, between("_between", false, true), between("_shared", true, true),
          between("_without_y", false, false)};
}

OpEntry latent_block_entry() {
  OpEntry entry{"latent_block", {}};
  for (Activation kind : kActivations) {
    for (OpCase& sample : latent_block_cases(kind, {3, 5})) entry.cases.push_back(sample);
  }
  for (Size size : kSizes) {
    const auto cases = latent_block_cases(Activation::tanh, size);
    const size_t count =
        size.cols > 8 ? 1 : cases.size();  // a difference for every weight takes time
    entry.cases.insert(entry.cases.end(), cases.begin(), cases.begin() + count);
  }
  return entry;
}

OpEntry likelihood_layer_entry() {
  OpEntry entry{"likelihood_layer", {}};
  for (const Likelihood likelihood : {Likelihood::bernoulli, Likelihood::gaussian}) {
    for (Size size : kSizes) {
      const int64_t in = size.cols % 4 + 2;
      OpCase sample;
      sample.name =
          concat(likelihood == Likelihood::bernoulli ? "bernoulli_" : "gaussian_", size_name(size));
      sample.leaves = {Shape{size.rows, in}};
      sample.params = {Shape{size.cols, in}, Shape{size.cols}};
      sample.constants = {Shape{size.rows, size.cols}};
      sample.unit_constants = true;
      sample.run = [likelihood](OpInputs& inputs) {
        return OpOutputs{
            {},
            {likelihood_layer(inputs.tape, inputs.params, inputs.leaves[0], inputs.param_ids[0],
                              inputs.param_ids[1], inputs.constants[0], likelihood, -0.7f,
                              inputs.row_weight)}};
      };
      entry.cases.push_back(sample);
    }
  }
  return entry;
}

OpEntry cross_entropy_entry() {
  OpEntry entry{"cross_entropy", {}};
  for (Size size : kSizes) {
    OpCase sample;
    sample.name = size_name(size);
    sample.leaves = {Shape{size.rows, size.cols}};
    sample.range = 4.0;
    sample.classes = static_cast<int>(size.cols);
    sample.run = [](OpInputs& in) {
      return OpOutputs{{}, {cross_entropy(in.tape, in.leaves[0], in.labels, in.row_weight)}};
    };
    entry.cases.push_back(sample);
  }
  return entry;
}

// Beside the values of a vector, and beside the channels of 2 x 3 pixels.
OpEntry append_label_entry() {
  OpEntry entry{"append_label", {}};
  for (Size size : kSizes) {
    OpCase sample;
    sample.name = size_name(size);
    sample.leaves = {Shape{size.rows, size.cols}, Shape{size.rows, 2, 3, size.cols}};
    sample.classes = 3;
    sample.run = [](OpInputs& in) {
      const Tensor vector = append_label(in.tape, in.leaves[0], in.labels, 3);
      const Tensor picture = append_label(in.tape, in.leaves[1], in.labels, 3);
      // The vector again, three rows for each label: its gradient has two contributions.
      const Tensor draws = repeat_rows(in.tape, in.leaves[0], 3);
      return OpOutputs{{vector, picture, append_label(in.tape, draws, in.labels, 5)}, {}};
    };
    entry.cases.push_back(sample);
  }
  return entry;
}

// The same of attributes, with a scale that the constants and buffers of ones give.
OpEntry append_attributes_entry() {
  OpEntry entry{"append_attributes", {}};
  for (Size size : kSizes) {
    OpCase sample;
    sample.name = size_name(size);
    sample.leaves = {Shape{size.rows, size.cols}, Shape{size.rows, 2, 3, size.cols}};
    sample.constants = {Shape{3}};
    sample.buffers = {Shape{3}};
    sample.attributes = 3;
    sample.run = [](OpInputs& in) {
      const Tensor deviation = in.params.buffers().value(in.buffer_ids[0]);
      const auto append = [&](const Tensor& x) {
        return append_attributes(in.tape, x, in.attributes, in.constants[0], deviation);
      };
      const Tensor draws = repeat_rows(in.tape, in.leaves[0], 3);
      return OpOutputs{{append(in.leaves[0]), append(in.leaves[1]), append(draws)}, {}};
    };
    entry.cases.push_back(sample);
  }
  return entry;
}

std::vector<OpEntry> make_table() {
  std::vector<OpEntry> table;
  table.push_back(linear_entry());
  table.push_back(activation_entry());
  table.push_back(conv2d_entry());
  table.push_back(conv_transpose2d_entry());
  table.push_back(conv_likelihood_layer_entry());
  table.push_back(reparam_entry());
  table.push_back(latent_block_entry());
  for (OpEntry& entry : likelihood_ops()) table.push_back(std::move(entry));
  table.push_back(likelihood_layer_entry());
  table.push_back(cross_entropy_entry());
  table.push_back(append_label_entry());
  table.push_back(append_attributes_entry());
  table.push_back(binary("add", add));
  table.push_back(binary("mul", mul));
  table.push_back(binary("concat_cols", concat_cols));
  table.push_back(unary("posterior_mean", [](Tape& tape, const Tensor& x) {
    return posterior_mean(tape, concat_cols(tape, x, x));
  }));
  table.push_back(unary("scale", [](Tape& tape, const Tensor& x) { return scale(tape, x, -1.5); }));
  table.push_back(unary("slice_cols", [](Tape& tape, const Tensor& x) {
    return slice_cols(tape, x, x.shape[1] / 3, x.shape[1]);
  }));
  table.push_back(
      unary("repeat_rows", [](Tape& tape, const Tensor& x) { return repeat_rows(tape, x, 3); }));
  table.push_back(unary("sum_rows", sum_rows));
  table.push_back(unary("sum_all", sum_all));
  table.push_back(unary("logsumexp_rows", logsumexp_rows));
  table.push_back(unary("reshape", [](Tape& tape, const Tensor& x) {
    return reshape(tape, x, Shape{x.shape[1], x.shape[0]});
  }));
  for (OpEntry& entry : objective_ops()) table.push_back(std::move(entry));
  for (OpEntry& entry : picture_ops()) table.push_back(std::move(entry));
  return table;
}

}  // namespace

const std::vector<OpEntry>& op_table() {
  static const std::vector<OpEntry> table = make_table();
  return table;
}

}  // namespace elbo
