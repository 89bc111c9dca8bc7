#include "tests/support/op_table_pictures.h"

#include "engine/ops/basis_op.h"

namespace elbo {
namespace {

std::string shape_name(const Shape& shape) {
  std::string name;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    name += (axis ? "x" : "") + std::to_string(shape[axis]);
  }
  return name;
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

}  // namespace

std::vector<OpEntry> picture_ops() {
  std::vector<OpEntry> entries;
  entries.push_back(flatten_entry());
  return entries;
}

}  // namespace elbo
