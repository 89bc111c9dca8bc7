#include "tests/support/op_harness.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>

namespace elbo {
namespace {

std::vector<double> draw(std::mt19937_64& rng, int64_t count, double low, double high,
                         double keep_away) {
  std::uniform_real_distribution<double> uniform(low, high);
  std::vector<double> values(static_cast<size_t>(count));
  for (double& value : values) {
    do value = uniform(rng);
    while (std::abs(value) < keep_away);
    // Rounded to fp32, so that both precisions start from the same numbers.
    value = static_cast<float>(value);
  }
  return values;
}

template <class T>
void upload_as(Context& context, void* to, const std::vector<double>& values) {
  const std::vector<T> typed(values.begin(), values.end());
  context.upload(to, typed.data(), typed.size() * sizeof(T));
}

void upload(Context& context, DType dtype, void* to, const std::vector<double>& values) {
  dtype == DType::f64 ? upload_as<double>(context, to, values)
                      : upload_as<float>(context, to, values);
}

template <class T>
std::vector<double> download_as(Context& context, const void* from, int64_t count) {
  std::vector<T> typed(static_cast<size_t>(count));
  context.download(typed.data(), from, typed.size() * sizeof(T));
  return {typed.begin(), typed.end()};
}

std::vector<double> download(Context& context, DType dtype, const void* from, int64_t count) {
  return dtype == DType::f64 ? download_as<double>(context, from, count)
                             : download_as<float>(context, from, count);
}

// One context for all runs on the CPU: a gradient by differences makes thousands, and its scratch is large.
Context& cpu_context() {
  static Context context({Device::cpu, 0, ""});
  return context;
}

// Everything one run needs on its device.
class Run {
 public:
  Run(const OpCase& op, const OpValues& values, Device device, DType dtype)
      : op_(op),
        values_(values),
        dtype_(dtype),
        own_context_(device == Device::cpu
                         ? nullptr
                         : std::make_unique<Context>(DeviceChoice{device, 0, ""})),
        context_(own_context_ ? *own_context_ : cpu_context()),
        params_(context_, dtype),
        tape_(context_) {
    std::vector<ParamStore::Id> ids;
    for (size_t i = 0; i < op.params.size(); ++i) {
      ids.push_back(params_.add(concat("p", i), op.params[i], {InitKind::zeros}));
    }
    for (size_t i = 0; i < op.buffers.size(); ++i) {
      buffer_ids_.push_back(params_.buffers().add(concat("b", i), op.buffers[i], 1.0));
    }
    params_.finalise();
    for (size_t i = 0; i < ids.size(); ++i) {
      upload(context_, dtype, params_.param(ids[i]).value.data, values.params[i]);
    }
    ids_ = ids;
    for (size_t i = 0; i < op.leaves.size(); ++i) {
      leaves_.push_back(store(op.leaves[i], values.leaves[i]));
    }
    for (size_t i = 0; i < op.constants.size(); ++i) {
      constants_.push_back(store(op.constants[i], values.constants[i]));
    }
    const auto rows = static_cast<int64_t>(values.row_weight.size());
    if (rows > 0) row_weight_ = store(Shape{rows}, values.row_weight);
    if (op.classes > 0) store_labels(rows);
    if (op.attributes > 0) store_attributes(rows);
  }

  OpGradients gradients() {
    OpGradients result;
    std::vector<Tensor> leaves;
    OpOutputs outputs;
    std::vector<Tensor> cotangents;
    tape_.run(1, [&](Tape& tape) {
      leaves.clear();
      for (const Tensor& leaf : leaves_) leaves.push_back(tape.leaf(leaf));
      OpInputs inputs{tape, params_, leaves, ids_, buffer_ids_, constants_, {}, {}, {}};
      inputs.row_weight.values = row_weight_;
      inputs.labels = labels_;
      inputs.attributes = attributes_;
      outputs = op_.run(inputs);
      if (cotangents.empty()) make_cotangents(outputs, cotangents);
      for (size_t i = 0; i < outputs.seeded.size(); ++i) {
        tape.keep(outputs.seeded[i]);
        tape.seed(outputs.seeded[i], cotangents[i]);
      }
      for (const Tensor& loss : outputs.losses) tape.keep(loss);
      tape.backward(params_);
      for (const Tensor& leaf : leaves) {
        if (const std::optional<Tensor> grad = tape.grad(leaf)) tape.keep(*grad);
      }
    });
    result.objective = objective(outputs);
    for (const Tensor& leaf : leaves) {
      const std::optional<Tensor> grad = tape_.grad(leaf);
      result.leaves.push_back(grad ? download(context_, dtype_, grad->data, leaf.size())
                                   : std::vector<double>(static_cast<size_t>(leaf.size()), 0.0));
    }
    for (ParamStore::Id id : ids_) {
      const Param param = params_.param(id);
      result.params.push_back(download(context_, dtype_, param.grad.data, param.grad.size()));
    }
    return result;
  }

 private:
  Tensor store(Shape shape, const std::vector<double>& values) {
    blocks_.emplace_back(context_, values.size() * dtype_bytes(dtype_), Role::buffers);
    upload(context_, dtype_, blocks_.back().data(), values);
    Tensor tensor;
    tensor.data = blocks_.back().data();
    tensor.shape = shape;
    tensor.dtype = dtype_;
    tensor.device = context_.device();
    return tensor;
  }

  void store_labels(int64_t rows) {
    std::vector<int32_t> labels(static_cast<size_t>(rows));
    for (size_t i = 0; i < labels.size(); ++i)
      labels[i] = static_cast<int32_t>(7 * i + 2) % op_.classes;
    blocks_.emplace_back(context_, labels.size() * sizeof(int32_t), Role::buffers);
    context_.upload(blocks_.back().data(), labels.data(), labels.size() * sizeof(int32_t));
    labels_ = external_tensor(blocks_.back().as<int32_t>(), Shape{rows}, context_.device());
  }

  void store_attributes(int64_t rows) {
    std::vector<float> values(static_cast<size_t>(rows * op_.attributes));
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = 0.25f * static_cast<float>(static_cast<int>(7 * i % 23) - 11);
    blocks_.emplace_back(context_, values.size() * sizeof(float), Role::buffers);
    context_.upload(blocks_.back().data(), values.data(), values.size() * sizeof(float));
    attributes_ =
        external_tensor(blocks_.back().as<float>(), Shape{rows, op_.attributes}, context_.device());
  }

  void make_cotangents(const OpOutputs& outputs, std::vector<Tensor>& cotangents) {
    std::mt19937_64 rng(values_.cotangent_seed);
    for (const Tensor& output : outputs.seeded) {
      cotangent_values_.push_back(draw(rng, output.size(), -1, 1, 0));
      cotangents.push_back(store(output.shape, cotangent_values_.back()));
    }
  }

  double objective(const OpOutputs& outputs) {
    double sum = 0;
    for (size_t i = 0; i < outputs.seeded.size(); ++i) {
      const Tensor& y = outputs.seeded[i];
      const std::vector<double> values = download(context_, dtype_, y.data, y.size());
      for (size_t j = 0; j < values.size(); ++j) sum += values[j] * cotangent_values_[i][j];
    }
    for (const Tensor& loss : outputs.losses) {
      const std::vector<double> values = download(context_, dtype_, loss.data, loss.size());
      for (size_t j = 0; j < values.size(); ++j)
        sum += values[j] * values_.row_weight[j % values_.row_weight.size()];
    }
    return sum;
  }

  const OpCase& op_;
  const OpValues& values_;
  DType dtype_;
  std::unique_ptr<Context> own_context_;
  Context& context_;
  ParamStore params_;
  Tape tape_;
  std::vector<DeviceBlock> blocks_;
  std::vector<ParamStore::Id> ids_;
  std::vector<BufferStore::Id> buffer_ids_;
  std::vector<Tensor> leaves_, constants_;
  Tensor row_weight_, labels_, attributes_;
  std::vector<std::vector<double>> cotangent_values_;
};

double largest(const OpGradients& gradients) {
  double most = 0;
  for (const auto* group : {&gradients.leaves, &gradients.params}) {
    for (const auto& values : *group) {
      for (double value : values) most = std::max(most, std::abs(value));
    }
  }
  return most;
}

// Fourth-order central difference of the objective in one coordinate.
double difference(const OpCase& op, OpValues& values, double& coordinate, double step) {
  const double at = coordinate;
  const auto objective = [&](double offset) {
    coordinate = at + offset;
    return run_op(op, values, Device::cpu, DType::f64).objective;
  };
  const double far = objective(2 * step) - objective(-2 * step);
  const double near = objective(step) - objective(-step);
  coordinate = at;
  return (8 * near - far) / (12 * step);
}

double worst_difference(const OpCase& op, OpValues& values, double step,
                        std::vector<std::vector<double>>& coordinates,
                        const std::vector<std::vector<double>>& gradients) {
  double worst = 0;
  for (size_t i = 0; i < coordinates.size(); ++i) {
    for (size_t j = 0; j < coordinates[i].size(); ++j) {
      const double estimate = difference(op, values, coordinates[i][j], step);
      worst = std::max(worst, std::abs(estimate - gradients[i][j]));
    }
  }
  return worst;
}

}  // namespace

OpValues draw_values(const OpCase& op, uint64_t seed) {
  std::mt19937_64 rng(seed);
  OpValues values;
  values.cotangent_seed = seed + 1;
  for (const Shape& shape : op.leaves) {
    values.leaves.push_back(draw(rng, shape.size(), -op.range, op.range, op.keep_away));
  }
  for (const Shape& shape : op.params) {
    values.params.push_back(draw(rng, shape.size(), -op.range, op.range, op.keep_away));
  }
  for (const Shape& shape : op.constants) {
    values.constants.push_back(draw(rng, shape.size(), op.unit_constants ? 0 : -op.range,
                                    op.unit_constants ? 1 : op.range, 0));
  }
  const int64_t rows =
      op.leaves.empty() ? (op.constants.empty() ? 0 : op.constants[0][0]) : op.leaves[0][0];
  values.row_weight = draw(rng, rows, -1, 1, 0);
  return values;
}

OpGradients run_op(const OpCase& op, const OpValues& values, Device device, DType dtype) {
  return Run(op, values, device, dtype).gradients();
}

double gradient_error(const OpCase& op, const OpValues& values, double step) {
  const OpGradients exact = run_op(op, values, Device::cpu, DType::f64);
  OpValues moved = values;
  const double worst = std::max(worst_difference(op, moved, step, moved.leaves, exact.leaves),
                                worst_difference(op, moved, step, moved.params, exact.params));
  const double scale = largest(exact);
  return scale > 0 ? worst / scale : worst;
}

double fp32_error(const OpCase& op, const OpValues& values, Device device) {
  const OpGradients exact = run_op(op, values, Device::cpu, DType::f64);
  const OpGradients rounded = run_op(op, values, device, DType::f32);
  double worst = 0;
  const auto compare = [&](const auto& a, const auto& b) {
    for (size_t i = 0; i < a.size(); ++i) {
      for (size_t j = 0; j < a[i].size(); ++j) {
        const double difference = std::abs(a[i][j] - b[i][j]);
        worst = std::isnan(difference) ? INFINITY : std::max(worst, difference);
      }
    }
  };
  compare(exact.leaves, rounded.leaves);
  compare(exact.params, rounded.params);
  const double scale = std::max(largest(exact), 1e-30);
  const double objective_error =
      std::abs(exact.objective - rounded.objective) / std::max(1.0, std::abs(exact.objective));
  return std::max(worst / scale, objective_error);
}

}  // namespace elbo
