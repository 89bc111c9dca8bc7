#include "tests/support/op_table_pictures.h"

#include "engine/ops/attention_op.h"
#include "engine/ops/basis_op.h"
#include "engine/ops/norm_op.h"
#include "engine/ops/resample_op.h"

namespace elbo {
namespace {

std::string shape_name(const Shape& shape) {
  std::string name;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    name += (axis ? "x" : "") + std::to_string(shape[axis]);
  }
  return name;
}

BatchNormOptions batch_norm_options(bool training, Activation activation) {
  BatchNormOptions options;
  options.training = training;
  options.activation = activation;
  options.epsilon = 0.25;  // or two rows would have gradients of 1 / 0
  return options;
}

NormParams layer_of(const OpInputs& in) {
  NormParams layer;
  layer.weight = in.param_ids[0];
  layer.bias = in.param_ids[1];
  if (!in.buffer_ids.empty()) {
    layer.running_mean = in.buffer_ids[0];
    layer.running_var = in.buffer_ids[1];
  }
  return layer;
}

OpCase norm_case(const Shape& shape, Activation activation) {
  OpCase sample;
  const int64_t channels = shape[shape.rank() - 1];
  sample.name = concat(activation_name(activation), "_", shape_name(shape));
  sample.leaves = {shape};
  sample.params = {Shape{channels}, Shape{channels}};
  sample.range = 2.0;
  return sample;
}

OpEntry batch_norm_entry() {
  OpEntry entry{"batch_norm", {}};
  const auto add = [&](const Shape& shape, Activation activation, bool training) {
    OpCase sample = norm_case(shape, activation);
    sample.name += training ? "_training" : "_running";
    sample.buffers = {sample.params[0], sample.params[0]};
    const BatchNormOptions options = batch_norm_options(training, activation);
    sample.run = [options](OpInputs& in) {
      return OpOutputs{{batch_norm(in.tape, in.params, in.leaves[0], layer_of(in), options)}, {}};
    };
    entry.cases.push_back(sample);
    // One layer used twice, on x and on its own output: gradients of x and of the layer add up.
    sample.name += "_twice";
    sample.run = [options](OpInputs& in) {
      const Tensor once = batch_norm(in.tape, in.params, in.leaves[0], layer_of(in), options);
      const Tensor twice = batch_norm(in.tape, in.params, once, layer_of(in), options);
      const Tensor again = batch_norm(in.tape, in.params, in.leaves[0], layer_of(in), options);
      return OpOutputs{{twice, again}, {}};
    };
    if (shape.size() > 0 && shape.size() < 30) entry.cases.push_back(sample);
  };
  for (const bool training : {true, false}) {
    for (const Activation activation : kActivations) add({2, 1, 3, 2}, activation, training);
    for (const Shape& shape : {Shape{0, 2, 2, 3}, Shape{2, 1, 1, 1}, Shape{3, 2, 2, 3}, Shape{4, 5},
                               Shape{2, 1, 2, 17}}) {
      add(shape, Activation::silu, training);
    }
  }
  return entry;
}

OpEntry group_norm_entry() {
  OpEntry entry{"group_norm", {}};
  const auto add = [&](const Shape& shape, int64_t groups, Activation activation) {
    OpCase sample = norm_case(shape, activation);
    sample.name += concat("_", groups, "_groups");
    GroupNormOptions options;
    options.groups = groups;
    options.activation = activation;
    options.epsilon = 0.25;
    sample.run = [options](OpInputs& in) {
      return OpOutputs{{group_norm(in.tape, in.params, in.leaves[0], layer_of(in), options)}, {}};
    };
    entry.cases.push_back(sample);
    sample.name += "_twice";
    sample.run = [options](OpInputs& in) {
      const Tensor once = group_norm(in.tape, in.params, in.leaves[0], layer_of(in), options);
      const Tensor twice = group_norm(in.tape, in.params, once, layer_of(in), options);
      const Tensor again = group_norm(in.tape, in.params, in.leaves[0], layer_of(in), options);
      return OpOutputs{{twice, again}, {}};
    };
    if (shape.size() > 0 && shape.size() < 30) entry.cases.push_back(sample);
  };
  for (const Activation activation : kActivations) add({2, 1, 2, 4}, 2, activation);
  add({0, 2, 2, 4}, 2, Activation::silu);
  add({2, 1, 1, 3}, 1, Activation::silu);
  add({1, 3, 2, 3}, 3, Activation::silu);
  add({2, 2, 1, 17}, 17, Activation::silu);
  add({3, 6}, 2, Activation::silu);
  return entry;
}

// A view's gradient is adopted by what it views; `shared` has other consumers of x, on either side of
// the view, so that gradients must add.
OpEntry flatten_entry() {
  OpEntry entry{"flatten", {}};
  for (const Shape& shape : {Shape{2, 1, 3, 2}, Shape{0, 2, 2, 1}, Shape{3}, Shape{2, 3}}) {
    OpCase sample;
    sample.name = shape_name(shape);
    sample.leaves = {shape};
    sample.run = [](OpInputs& in) { return OpOutputs{{flatten(in.tape, in.leaves[0])}, {}}; };
    entry.cases.push_back(sample);
    sample.name += "_shared";
    sample.run = [](OpInputs& in) {
      const Tensor x = scale(in.tape, in.leaves[0], 0.5);
      const Tensor before = mul(in.tape, x, x);
      const Tensor view = flatten(in.tape, x), again = flatten(in.tape, x);
      const Tensor product = mul(in.tape, view, again);
      const Tensor after = mul(in.tape, x, before);
      return OpOutputs{{before, product, after, view}, {}};
    };
    entry.cases.push_back(sample);
  }
  return entry;
}

OpEntry resample_entry(const std::string& op, Tensor (*apply)(Tape&, const Tensor&)) {
  OpEntry entry{op, {}};
  for (const Shape& shape : {Shape{0, 3, 4, 2}, Shape{2, 3, 4, 1}, Shape{1, 4, 3, 5}}) {
    OpCase sample;
    sample.name = shape_name(shape);
    sample.leaves = {shape};
    sample.run = [apply](OpInputs& in) {
      return OpOutputs{{apply(in.tape, in.leaves[0]), apply(in.tape, in.leaves[0])}, {}};
    };
    entry.cases.push_back(sample);
  }
  return entry;
}

std::vector<OpEntry> resample_entries() {
  return {resample_entry("upsample",
                         [](Tape& tape, const Tensor& x) {
                           return upsample(tape, x, Upsampling::bilinear, 5, 7);
                         }),
          resample_entry("upsample_by",
                         [](Tape& tape, const Tensor& x) {
                           return upsample_by(tape, x, Upsampling::nearest, 3);
                         }),
          resample_entry("avg_pool2d",
                         [](Tape& tape, const Tensor& x) {
                           return avg_pool2d(tape, x, {.kernel = 3, .stride = 2, .padding = 1});
                         }),
          resample_entry("global_avg_pool", global_avg_pool)};
}

OpEntry attention_entry() {
  OpEntry entry{"attention", {}};
  for (const Shape& shape :
       {Shape{0, 2, 2, 3}, Shape{1, 1, 1, 1}, Shape{2, 2, 2, 3}, Shape{2, 3, 2}, Shape{1, 5, 7}}) {
    OpCase sample;
    sample.name = shape_name(shape);
    sample.leaves = {shape, shape, shape};
    sample.run = [](OpInputs& in) {
      return OpOutputs{{attention(in.tape, in.leaves[0], in.leaves[1], in.leaves[2])}, {}};
    };
    entry.cases.push_back(sample);
    sample.name += "_of_itself";  // three contributions to one gradient
    sample.leaves.resize(1);
    sample.run = [](OpInputs& in) {
      const Tensor& x = in.leaves[0];
      return OpOutputs{{attention(in.tape, x, x, x)}, {}};
    };
    entry.cases.push_back(sample);
  }
  return entry;
}

}  // namespace

std::vector<OpEntry> picture_ops() {
  std::vector<OpEntry> entries;
  entries.push_back(flatten_entry());
  entries.push_back(batch_norm_entry());
  entries.push_back(group_norm_entry());
  entries.push_back(attention_entry());
  for (OpEntry& entry : resample_entries()) entries.push_back(std::move(entry));
  return entries;
}

}  // namespace elbo
