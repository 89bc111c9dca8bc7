// Names for what a profiler shows: an NVTX range per op, in the domain "elbo".
//
//   fwd/fc1/linear    bwd/fc4/linear_dweight    opt/optimizer
//
// Without a profiler a range costs a test of a pointer. Ranges are the host's: kernels of a replayed graph
// are not launched inside of them, so look at names with graph_steps=0 (docs/profiling.md).
#pragma once

#include <string>

namespace elbo {

// "bwd/fc1/linear"; an empty phase or label is left out.
std::string op_path(const char* phase, const char* label, const char* name);

class OpRange {
 public:
  OpRange(const char* phase, const char* label, const char* name);
  ~OpRange();
  OpRange(const OpRange&) = delete;
  OpRange& operator=(const OpRange&) = delete;
};

}  // namespace elbo
