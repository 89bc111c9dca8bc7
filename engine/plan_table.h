// The choices of kernels/plan_choices.h as text, for checkpoints (RunState::plan).
//
//   "conv weight 64x64x3 k4 s2 p1 -> 32x32x32 fp32+bias": "own",
//   "timed on": "NVIDIA H200, CUDA 13.0, cuDNN 91300"
#pragma once

#include <map>
#include <string>

#include "engine/context.h"

namespace elbo {

using PlanTable = std::map<std::string, std::string>;

// Empty if there are no choices.
PlanTable plan_table(const Context& context);

// Makes the table's choices those of the context, in place of what it had. Choices that were timed on
// another device or with other libraries are dropped, so that products are timed anew; then returns one
// line that says so, else nothing. On the CPU, which goes by rules, they are dropped without a word.
//
// Errors    ErrorCode::data naming `file`, for a choice that is none
std::string load_plan_table(Context& context, const PlanTable& table, const std::string& file);

}  // namespace elbo
