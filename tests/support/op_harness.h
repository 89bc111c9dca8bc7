// Runs one op, or a whole model, through the tape on given values, and checks its gradients.
//
// The objective is J = sum over outputs of <cotangent, output> + sum over losses of <weight, loss> with
// random cotangents and weights, so that no symmetry of a plain sum can hide an error.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/ops/op_support.h"
#include "engine/param_store.h"
#include "engine/tape.h"

namespace elbo {

// What a case's function gets: leaves, parameters, constants and row weights, on the device under test.
struct OpInputs {
  Tape& tape;
  ParamStore& params;
  std::vector<Tensor> leaves;
  std::vector<ParamStore::Id> param_ids;
  std::vector<BufferStore::Id> buffer_ids;
  std::vector<Tensor> constants;  // no gradient
  RowWeight row_weight;           // one weight per row of the first leaf
  Tensor labels;                  // int32, one per row
  Tensor attributes;              // f32 whatever the type, one row per row
};

struct OpOutputs {
  std::vector<Tensor> seeded;  // values; each gets a random cotangent
  std::vector<Tensor> losses;  // [B], computed with row_weight
};

struct OpCase {
  std::string name;
  std::vector<Shape> leaves;
  std::vector<Shape> params;
  std::vector<Shape> buffers;  // of ones
  std::vector<Shape> constants;
  double range = 1.0;           // values are drawn from U(-range, range)
  double keep_away = 0.0;       // and moved away from 0 by at least this: kinks
  bool unit_constants = false;  // constants in [0, 1]: pixels
  int classes = 0;              // > 0: labels of so many classes
  int attributes = 0;           // > 0: rows of so many numbers that are exact in f32
  std::function<OpOutputs(OpInputs&)> run;
};

struct OpValues {
  std::vector<std::vector<double>> leaves, params, constants;
  std::vector<double> row_weight;
  uint64_t cotangent_seed = 0;
};

OpValues draw_values(const OpCase& op, uint64_t seed);

struct OpGradients {
  double objective = 0;
  std::vector<std::vector<double>> leaves, params;  // of the objective
};

// Runs forward and backward once. dtype f64 needs Device::cpu.
OpGradients run_op(const OpCase& op, const OpValues& values, Device device, DType dtype);

// Largest difference between the tape's gradients and fourth-order differences of the objective, both
// in double on the CPU, relative to the largest gradient.
double gradient_error(const OpCase& op, const OpValues& values, double step = 1e-3);

// Largest difference between fp32 gradients (and objective) on `device` and those in double on the CPU,
// relative to the largest gradient.
double fp32_error(const OpCase& op, const OpValues& values, Device device);

}  // namespace elbo
